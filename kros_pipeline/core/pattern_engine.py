"""Search texts for a pattern with Rust's `regex` crate: linear time on any text, and Unicode in `\\b`, `\\w` and `\\d`.

The engine comes inside pydantic, which checks texts with it; nothing else is installed. It says whether a text matches,
not where: `patterns.py` finds the place. Of the packages that wrap the crate, `flpc` 0.2.5 (2024) has no wheel for
Python 3.13, `rure` 0.2.2 (2019) none for ARM and macOS, and neither is maintained. RE2 knows ASCII only in `\\b`.
A compiled pattern is limited to 10 MB; a larger one is refused.
"""

from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator, core_schema


class BadPattern(ValueError):
    """A pattern cannot be used. The message says why, and what to write instead where that is known."""


def compile_search(pattern: str) -> Callable[[str], bool]:
    """Return a function that says whether a text matches anywhere. Raises `BadPattern`."""
    schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        raise BadPattern(_explain(str(error))) from None


def _explain(message: str) -> str:
    """Return the crate's own explanation, which is the last line of several."""
    if "size limit" in message:
        return "the pattern is too large: its repetitions make more than 10 MB of it"
    return message.strip().splitlines()[-1].removeprefix("error: ").strip()
