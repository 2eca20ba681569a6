"""One rule that flags calls: its keys, and the values that each of them accepts."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from .languages import is_language
from .patterns import MAX_PATTERNS, check_pattern

__all__ = ["FORMS", "MAX_PATTERNS", "Rule"]

FORMS = {
    r"^[A-Za-z0-9_.-]{1,64}$": "1 to 64 letters, digits, dots, _ and -",
    r"^\S+$": "written as KrosAI shows it, without spaces",
}
"""The regular expressions that texts must match, with the words that explain each."""

_ID, _WORD = FORMS


def _check_pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def _check_language(tag: str) -> str:
    if not is_language(tag):
        raise ValueError("must be a language of ISO 639, like en, eng or pt-BR")
    return tag


def _check_number(number: str) -> str:
    if not any(char.isalnum() for char in number):
        raise ValueError("must be a phone number, with + and its country code")
    return number


def _check_prefix(prefix: str) -> str:
    """Refuse a prefix of separators only, which would match every number. `+` matches those with a country code."""
    return prefix if prefix.strip() in ("+", "＋") else _check_number(prefix)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _check_true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true, or left out")
    return value


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Patterns = Annotated[list[Pattern], Field(min_length=1)]
Words = Annotated[list[Annotated[str, StringConstraints(pattern=_WORD)]], Field(min_length=1)]
Numbers = Annotated[list[Annotated[str, AfterValidator(_check_number)]], Field(min_length=1)]
Prefixes = Annotated[list[Annotated[str, AfterValidator(_check_prefix)]], Field(min_length=1)]
LanguageTags = Annotated[list[Annotated[str, AfterValidator(_check_language)]], Field(min_length=1)]


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
    across_turns: Annotated[bool, AfterValidator(_check_true)] | None = None
    no_transcript: Annotated[bool, AfterValidator(_check_true)] | None = None
    languages: LanguageTags | None = None
    confidence_below: Annotated[float, Field(gt=0, le=1)] | None = None
    duration_seconds_at_least: Annotated[float, Field(ge=0)] | None = None
    direction: Annotated[Literal["inbound", "outbound"], BeforeValidator(_lower)] | None = None
    numbers: Numbers | None = None
    number_prefixes: Prefixes | None = None
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
    def call_id_set(self) -> frozenset[str]:
        """`call_ids` as a set: a long list would be searched once for each call."""
        return frozenset(self.call_ids or ())
