"""One HTTP answer of the API, parsed: its JSON, and the error in its body, whatever the status says.

A proxy or a load balancer in front of the API answers, too. Its answers look like the API's, and are not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .json_answers import parse_json


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """Status, headers and JSON value of one answer. `is_json` is False where the body is empty or anything else."""

    status: int
    headers: Mapping[str, str]
    size_bytes: int
    is_json: bool
    value: object

    @classmethod
    def parse(cls, status: int, headers: Mapping[str, str], body: bytes) -> "ApiAnswer":
        """Parse the body of an answer. Nothing is raised where it is no JSON."""
        try:
            return cls(status, headers, len(body), True, parse_json(body))
        except ValueError:
            return cls(status, headers, len(body.strip()), False, None)

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx. The body may report an error all the same."""
        return 200 <= self.status < 300

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the JSON object; none where the body is something else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def has_documented_error(self) -> bool:
        """Whether the body is the API's own error: a JSON object with a text `error`."""
        error = self.fields.get("error")
        return isinstance(error, str) and bool(error.strip())

    @property
    def error_code(self) -> str:
        """The error's `code`; empty where there is none, or where a 2xx has a `code` and no `error`."""
        code = self.fields.get("code")
        is_error = bool(self.fields.get("error")) or not self.is_success
        return code.strip().upper() if is_error and isinstance(code, str) else ""
