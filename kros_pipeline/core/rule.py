"""One rule that flags calls: its keys, and the values that each of them accepts."""

from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal
from unicodedata import normalize

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

MAX_PATTERNS = 1_000  # in one file: each compiled pattern stays in memory as long as the process lives
FORMS = {
    r"^[A-Za-z0-9_.-]{1,64}$": "1 to 64 letters, digits, dots, _ and -",
    r"^\S+$": "written as KrosAI shows it, without spaces",
    r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$": "a language tag like en or pt-BR",
}
"""The regular expressions that texts must match, with the words that explain each."""

_ID, _WORD, _LANGUAGE_TAG = FORMS
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False  # a bad pattern raises an exception, and RE2 need not print it too


@lru_cache(maxsize=MAX_PATTERNS)
def compile_pattern(pattern: str) -> Any:
    """Compile a pattern with RE2, after normalizing it to NFC. Raises `re2.error`."""
    return re2.compile(normalize("NFC", pattern), _RE2_OPTIONS)


def _check_pattern(pattern: str) -> str:
    if not pattern:
        raise ValueError("the pattern is empty; every text would match it")
    try:
        compile_pattern(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else "not RE2"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a pattern that RE2 reads: {text}") from None
    return pattern


def _check_true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true, or left out")
    return value


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Patterns = Annotated[list[Pattern], Field(min_length=1)]
Words = Annotated[list[Annotated[str, StringConstraints(pattern=_WORD)]], Field(min_length=1)]
LanguageTags = Annotated[list[Annotated[str, StringConstraints(pattern=_LANGUAGE_TAG)]], Field(min_length=1)]


class Rule(BaseModel):
    """One rule of the file. A condition that is left out always holds."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    id: Annotated[str, StringConstraints(pattern=_ID)]
    description: str | None = None
    speaker: Literal["agent", "caller", "other"] | None = None
    text_matches: Pattern | None = None
    text_matches_any: Patterns | None = None
    text_matches_all: Patterns | None = None
    text_matches_none: Patterns | None = None
    no_transcript: Annotated[bool, AfterValidator(_check_true)] | None = None
    languages: LanguageTags | None = None
    confidence_below: Annotated[float, Field(gt=0, le=1)] | None = None
    duration_seconds_at_least: Annotated[float, Field(ge=0)] | None = None
    direction: Literal["inbound", "outbound"] | None = None
    numbers: Words | None = None
    number_prefixes: Words | None = None
    endpoint_ids: Words | None = None
    call_ids: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    extend_days: Annotated[int, Field(ge=1, le=36_500)]

    @field_validator("*", mode="before")
    @classmethod
    def _check_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("the value is missing; write one, or remove the key")
        return value

    @property
    def patterns(self) -> dict[str, list[str]]:
        """The patterns of each condition about text that the rule has, by key."""
        single = [self.text_matches] if self.text_matches is not None else None
        lists = {
            "text_matches": single,
            "text_matches_any": self.text_matches_any,
            "text_matches_all": self.text_matches_all,
            "text_matches_none": self.text_matches_none,
        }
        return {name: patterns for name, patterns in lists.items() if patterns is not None}

    @cached_property
    def number_set(self) -> frozenset[str]:
        """`numbers` as a set: a long list would be searched once for each call."""
        return frozenset(self.numbers or ())

    @cached_property
    def call_id_set(self) -> frozenset[str]:
        """`call_ids` as a set, for the same reason."""
        return frozenset(self.call_ids or ())
