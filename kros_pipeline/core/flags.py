"""What the rules that flag calls mean, and why a call was flagged.

All conditions of one rule must hold. What is not known satisfies none: a call without a duration is not long, and one
without turns satisfies no condition about text, not even `text_matches_none`.

- Each condition about text is put to the turns of `speaker`, or to all where it is left out. A turn of unknown speaker
  is anyone's, and the reason says so. `text_matches`: a turn matches. `_any`: a turn matches one of the patterns.
  `_all`: each pattern matches a turn, not always the same one. `_none`: no turn matches any of them.
- Patterns are RE2, and match anywhere in a turn: linear time whatever the text, no lookaround, `\\b` knows ASCII
  letters alone. Case is compared as it is written; `(?i)` folds it, in every script. Accents are compared as they are
  written too, whichever of Unicode's forms they have: for the comparison, pattern and text are brought to NFC.
- `numbers` and `number_prefixes` hold of either side. `languages` are compared without case, and `pt` holds of `pt-BR`.
- `no_transcript` holds once upstream was asked after the grace days and had none; while one may still come, not.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from .rule import Rule, compiled
from .rules_file import BadRules, read_rules
from .transcripts import UNKNOWN, Turn

__all__ = ["BadRules", "Flag", "Rules", "parse_rules"]


@dataclass(frozen=True, slots=True)
class Flag:
    """Why one rule flags one call. `turn_index` is the first turn that satisfied it; None if it is about the call."""

    rule_id: str
    reason: str
    turn_index: int | None
    extend_days: int


@dataclass(frozen=True)
class Rules:
    """The rules in the file's order. `version` is the start of the file's SHA-256; `none` where there is no file."""

    rules: tuple[Rule, ...] = ()
    version: str = "none"

    def flags_of(self, call: Any, transcript: Any, turns: Sequence[Turn]) -> list[Flag]:
        """The flags of one call.

        `call` has the columns of the table `calls` as attributes, `transcript` those of `transcripts`; None where the
        call has no row there.
        """
        spoken = [_Spoken(turn, normalize("NFC", turn.text)) for turn in turns]
        flags = (_flag_of(rule, call, transcript, spoken) for rule in self.rules)
        return [flag for flag in flags if flag is not None]


def parse_rules(text: str, *, confidence_is_known: bool) -> Rules:
    """Reads the YAML of a rules file. Raises `BadRules` with every mistake in it; see `read_rules`."""
    version = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return Rules(read_rules(text, confidence_is_known=confidence_is_known), version)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A turn, and its text as patterns see it."""

    turn: Turn
    text: str


def _flag_of(rule: Rule, call: Any, transcript: Any, turns: Sequence[_Spoken]) -> Flag | None:
    reasons = []
    for key, reason_of in _OF_THE_CALL.items():
        if getattr(rule, key) is not None:
            reason = reason_of(rule, call, transcript)
            if reason is None:
                return None
            reasons.append(reason)
    turn_index = None
    if rule.speaker is not None or rule.patterns:
        said = _said(rule, turns)
        if said is None:
            return None
        more, turn_index = said
        reasons += more
    reason = "; ".join(reasons) or "every call satisfies this rule"
    return Flag(rule.id, f"{rule.description}: {reason}" if rule.description else reason, turn_index, rule.extend_days)


# Conditions about the call: the reason where they hold, else None.


def _is_named(rule: Rule, call: Any, _: Any) -> str | None:
    return "the call is named" if call.call_id in rule.call_id_set else None


def _is_listed(rule: Rule, call: Any, _: Any) -> str | None:
    return _side(call, "is listed", lambda number: number in rule.number_set)


def _begins(rule: Rule, call: Any, _: Any) -> str | None:
    prefixes = tuple(rule.number_prefixes or ())
    return _side(call, "begins with a listed prefix", lambda number: number.startswith(prefixes))


def _side(call: Any, what: str, holds: Callable[[str], bool]) -> str | None:
    for side in ("from_number", "to_number"):
        number = getattr(call, side)
        if number is not None and holds(number):
            return f"{side} {what}"
    return None


def _is_directed(rule: Rule, call: Any, _: Any) -> str | None:
    return f"the call is {rule.direction}" if call.direction == rule.direction else None


def _is_at_endpoint(rule: Rule, call: Any, _: Any) -> str | None:
    return "the endpoint is listed" if call.endpoint_id in (rule.endpoint_ids or ()) else None


def _is_long(rule: Rule, call: Any, _: Any) -> str | None:
    seconds, least = call.duration_seconds, rule.duration_seconds_at_least
    if seconds is None or least is None or seconds < least:
        return None
    return f"{seconds:g} s are at least {least:g} s"


def _is_unsure(rule: Rule, _: Any, transcript: Any) -> str | None:
    confidence = transcript.confidence if transcript is not None else None
    if confidence is None or rule.confidence_below is None or confidence >= rule.confidence_below:
        return None
    return f"confidence {confidence:g} is below {rule.confidence_below:g}"


def _is_in_language(rule: Rule, _: Any, transcript: Any) -> str | None:
    tag = (transcript.language if transcript is not None else None) or ""
    found = tag.replace("_", "-").lower()
    for wanted in rule.languages or ():
        if found == wanted.lower() or found.startswith(f"{wanted.lower()}-"):  # RFC 4647, basic filtering
            return f"the language is {wanted}"
    return None


def _has_none(_: Rule, __: Any, transcript: Any) -> str | None:
    return "upstream has no transcript" if transcript is not None and transcript.status == "none" else None


_OF_THE_CALL: dict[str, Callable[[Rule, Any, Any], str | None]] = {
    "call_ids": _is_named,
    "numbers": _is_listed,
    "number_prefixes": _begins,
    "direction": _is_directed,
    "endpoint_ids": _is_at_endpoint,
    "duration_seconds_at_least": _is_long,
    "confidence_below": _is_unsure,
    "languages": _is_in_language,
    "no_transcript": _has_none,
}


# Conditions about what was said.


def _said(rule: Rule, turns: Sequence[_Spoken]) -> tuple[list[str], int | None] | None:
    """The reasons, and the first turn that satisfied one of them; None where a condition does not hold."""
    heard = [spoken for spoken in turns if rule.speaker is None or spoken.turn.speaker in (rule.speaker, UNKNOWN)]
    if not turns or not (heard or rule.patterns):
        return None
    if not rule.patterns:
        return [f"{_named(rule, heard[0].turn)} is there"], heard[0].turn.turn_index
    reasons: list[str] = []
    found: dict[int, Turn] = {}
    for key, patterns in rule.patterns.items():
        wanted = [patterns] if key == "text_matches_any" else [[pattern] for pattern in patterns]
        firsts = [_first_match(any_of, heard) for any_of in wanted]
        here = {turn.turn_index: turn for turn in firsts if turn is not None}
        if key == "text_matches_none":
            if here:
                return None
            reasons.append(f"no turn{f' of speaker {rule.speaker}' if rule.speaker else ''} matches {key}")
        elif None in firsts:
            return None
        else:
            named = " and ".join(_named(rule, here[index]) for index in sorted(here))
            verb = "matches" if len(here) == 1 else "match"
            reasons.append(f"{named} {verb}" if key == "text_matches" else f"{named} {verb} {key}")
            found |= here
    return reasons, min(found, default=None)


def _first_match(patterns: Sequence[str], heard: Sequence[_Spoken]) -> Turn | None:
    searches = [compiled(pattern).search for pattern in patterns]
    return next((spoken.turn for spoken in heard if any(search(spoken.text) for search in searches)), None)


def _named(rule: Rule, turn: Turn) -> str:
    unsure = ", who may be anyone" if rule.speaker is not None and turn.speaker == UNKNOWN else ""
    return f"turn {turn.turn_index} of speaker {turn.speaker}{unsure}"
