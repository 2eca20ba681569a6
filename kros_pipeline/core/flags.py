"""Apply the rules that flag calls, and say why each call was flagged.

All conditions of one rule must hold. An unknown value satisfies no condition: a call without a duration is not long,
and a call without turns satisfies no condition about text, not even `text_matches_none`.

- A condition about text is applied to the turns of `speaker`, or to all turns where `speaker` is left out. A turn of
  unknown speaker counts for every speaker, and the reason says so. `text_matches`: a turn matches. `_any`: a turn
  matches one of the patterns. `_all`: each pattern matches a turn, not always the same one. `_none`: no turn matches
  any pattern.
- With `across_turns` a pattern may also begin in one turn and end in the next turn of the same speaker.
- Patterns match anywhere in a turn, in linear time; they have no lookaround, and `\\b` knows every script. Speech and
  patterns are folded alike (`text_folding.py`): typographic variants are the same. Case is ignored, unless the pattern
  begins with `(?-i)`. Accents are compared as written.
- `numbers` and `number_prefixes` apply to either side, and are compared in E.164. `languages` are compared by ISO 639,
  and `pt` matches `pt-BR`. Directions ignore case.
- `no_transcript` holds once upstream was asked after the grace days and had no transcript, not while one may still
  come.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .languages import matches_language
from .patterns import CompiledPattern, compile_pattern
from .rule import Rule
from .rule_numbers import comparable_number, comparable_prefixes
from .rules_file import BadRules, read_rules
from .statuses import Speaker, TranscriptStatus
from .text_folding import fold_text, map_back
from .transcripts import Turn

__all__ = ["BadRules", "Flag", "Rules", "parse_rules"]


@dataclass(frozen=True, slots=True)
class Flag:
    """Why one rule flags one call.

    `turn_index` is the first turn that satisfied the rule, or None where the rule is about the call. `extend_days` is
    how long the rule wants the recording kept upstream. `reason` contains no speech and no phone number.
    """

    rule_id: str
    reason: str
    turn_index: int | None
    extend_days: int


@dataclass(frozen=True)
class Rules:
    """The rules in the file's order. `version` is the start of the file's SHA-256; `none` where there is no file.

    `country` is that of phone numbers in national form; None where they are not read.
    """

    rules: tuple[Rule, ...] = ()
    version: str = "none"
    country: str | None = None
    _numbers: dict[str, tuple[frozenset[str], tuple[str, ...]]] = field(
        default_factory=dict, compare=False, repr=False
    )  # comparable numbers and prefixes, by the rule's id

    def find_flags(self, call: Any, transcript: Any, turns: Sequence[Turn]) -> list[Flag]:
        """Find the flags of one call, in the order of the rules.

        `call` has the columns of the table `calls` as attributes, and `transcript` those of `transcripts`; `transcript`
        is None where the call has no row there.
        """
        spoken = [_Speech((turn,), fold_text(turn.text)) for turn in turns]
        flags = (self._apply(rule, call, transcript, spoken) for rule in self.rules)
        return [flag for flag in flags if flag is not None]

    def _apply(self, rule: Rule, call: Any, transcript: Any, turns: Sequence["_Speech"]) -> Flag | None:
        number_reasons = self._match_numbers(rule, call)
        return _apply_rule(rule, call, transcript, turns, number_reasons) if number_reasons is not None else None

    def _match_numbers(self, rule: Rule, call: Any) -> list[str] | None:
        """Return the reasons of the rule's conditions about numbers; None where one of them does not hold."""
        if rule.numbers is None and rule.number_prefixes is None:
            return []
        if rule.id not in self._numbers:
            prefixes = (comparable_prefixes(prefix, self.country) for prefix in rule.number_prefixes or ())
            self._numbers[rule.id] = (
                frozenset(comparable_number(number, self.country) for number in rule.numbers or ()),
                tuple(begin for begins in prefixes for begin in begins),
            )
        numbers, begins = self._numbers[rule.id]
        sides = {
            side: comparable_number(number, self.country)
            for side in ("from_number", "to_number")
            if (number := getattr(call, side)) is not None
        }
        reasons = []
        for is_wanted, what, holds in (
            (rule.numbers is not None, "is listed", numbers.__contains__),
            (rule.number_prefixes is not None, "begins with a listed prefix", lambda number: number.startswith(begins)),
        ):
            side = next((side for side, number in sides.items() if holds(number)), None)
            if is_wanted and side is None:
                return None
            if is_wanted:
                reasons.append(f"{side} {what}")
        return reasons


def parse_rules(text: str, *, confidence_is_known: bool, country: str | None = None) -> Rules:
    """Parse the YAML of a rules file. Raises `BadRules` with every mistake in it; see `read_rules`."""
    version = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return Rules(read_rules(text, confidence_is_known=confidence_is_known), version, country)


@dataclass(frozen=True, slots=True)
class _Speech:
    """A turn, or two turns of one speaker, and the text in which patterns are searched."""

    turns: tuple[Turn, ...]
    folded: str

    @property
    def first(self) -> Turn:
        """The turn, or the first of both."""
        return self.turns[0]

    def place(self, pattern: CompiledPattern) -> str:
        """Return where the pattern matches, in characters of the turn's own text."""
        begin, end = pattern.find(self.folded)
        if len(self.turns) == 1:
            begin, end = map_back(self.first.text, begin, end)
            return f", characters {begin} to {end},"
        return f", from there to turn {self.turns[1].turn_index},"


def _join_turns(turns: Sequence[_Speech]) -> Iterator[_Speech]:
    """Yield each turn, and behind it the same turn with the next one of its speaker."""
    following: dict[tuple[str, str | None], _Speech] = {}
    joined: list[tuple[_Speech, ...]] = []
    for item in reversed(turns):
        speaker = (item.first.speaker, item.first.speaker_label)
        after = following.get(speaker)
        if after is None or not (item.folded and after.folded):
            joined.append((item,))
        else:
            both = _Speech((item.first, after.first), f"{item.folded} {after.folded}")
            joined.append((item, both))
        following[speaker] = item
    for items in reversed(joined):
        yield from items


def _apply_rule(
    rule: Rule, call: Any, transcript: Any, turns: Sequence[_Speech], number_reasons: list[str]
) -> Flag | None:
    reasons = []
    for key, find_reason in _CALL_CONDITIONS.items():
        if getattr(rule, key) is not None:
            reason = find_reason(rule, call, transcript)
            if reason is None:
                return None
            reasons.append(reason)
        if key == "call_ids":
            reasons += number_reasons
    turn_index = None
    if rule.speaker is not None or rule.patterns:
        matched = _match_turns(rule, turns)
        if matched is None:
            return None
        turn_reasons, turn_index = matched
        reasons += turn_reasons
    reason = "; ".join(reasons) or "every call satisfies this rule"
    return Flag(rule.id, f"{rule.description}: {reason}" if rule.description else reason, turn_index, rule.extend_days)


# Conditions about the call. Each function returns the reason where the condition holds, and None where it does not.


def _match_call_ids(rule: Rule, call: Any, _: Any) -> str | None:
    return "the call is named" if call.call_id in rule.call_id_set else None


def _match_direction(rule: Rule, call: Any, _: Any) -> str | None:
    direction = (call.direction or "").strip().lower()
    return f"the call is {rule.direction}" if direction == rule.direction else None


def _match_endpoint_ids(rule: Rule, call: Any, _: Any) -> str | None:
    return "the endpoint is listed" if call.endpoint_id in (rule.endpoint_ids or ()) else None


def _match_duration(rule: Rule, call: Any, _: Any) -> str | None:
    seconds, minimum = call.duration_seconds, rule.duration_seconds_at_least
    if seconds is None or minimum is None or seconds < minimum:
        return None
    return f"{seconds:g} s are at least {minimum:g} s"


def _match_confidence(rule: Rule, _: Any, transcript: Any) -> str | None:
    confidence = transcript.confidence if transcript is not None else None
    if confidence is None or rule.confidence_below is None or confidence >= rule.confidence_below:
        return None
    return f"confidence {confidence:g} is below {rule.confidence_below:g}"


def _match_languages(rule: Rule, _: Any, transcript: Any) -> str | None:
    tag = (transcript.language if transcript is not None else None) or ""
    wanted = next((wanted for wanted in rule.languages or () if tag and matches_language(tag, wanted)), None)
    return f"the language is {wanted}" if wanted is not None else None


def _match_no_transcript(_: Rule, __: Any, transcript: Any) -> str | None:
    has_none = transcript is not None and transcript.status == TranscriptStatus.NONE
    return "upstream has no transcript" if has_none else None


_CALL_CONDITIONS: dict[str, Callable[[Rule, Any, Any], str | None]] = {
    "call_ids": _match_call_ids,
    "direction": _match_direction,
    "endpoint_ids": _match_endpoint_ids,
    "duration_seconds_at_least": _match_duration,
    "confidence_below": _match_confidence,
    "languages": _match_languages,
    "no_transcript": _match_no_transcript,
}


# Conditions about the turns.


def _match_turns(rule: Rule, turns: Sequence[_Speech]) -> tuple[list[str], int | None] | None:
    """Return the reasons and the first turn that satisfied one of them, or None where a condition does not hold."""
    speakers = (rule.speaker, Speaker.UNKNOWN)
    candidates = [item for item in turns if rule.speaker is None or item.first.speaker in speakers]
    if not turns or not (candidates or rule.patterns):
        return None
    if not rule.patterns:
        return [f"{_describe_turn(rule, candidates[0].first)} is there"], candidates[0].first.turn_index
    if rule.across_turns:
        candidates = list(_join_turns(candidates))
    reasons: list[str] = []
    found: dict[int, str] = {}
    for key, patterns in rule.patterns.items():
        alternatives = [patterns] if key == "text_matches_any" else [[pattern] for pattern in patterns]
        firsts = [_find_first_match(any_of, candidates) for any_of in alternatives]
        matches = [match for match in firsts if match is not None]
        if key == "text_matches_none":
            if matches:
                return None
            reasons.append(f"no turn{f' of speaker {rule.speaker}' if rule.speaker else ''} matches {key}")
        elif len(matches) < len(firsts):
            return None
        else:
            described = {
                speech.first.turn_index: _describe_turn(rule, speech.first) + speech.place(pattern)
                for speech, pattern in reversed(matches)
            }
            verb = "matches" if len(described) == 1 else "match"
            which = " and ".join(described[index] for index in sorted(described))
            reasons.append(f"{which} {verb}" if key == "text_matches" else f"{which} {verb} {key}")
            found |= described
    return reasons, min(found, default=None)


def _find_first_match(patterns: Iterable[str], turns: Sequence[_Speech]) -> tuple[_Speech, CompiledPattern] | None:
    compiled = [compile_pattern(pattern) for pattern in patterns]
    return next(((item, pattern) for item in turns for pattern in compiled if pattern.is_in(item.folded)), None)


def _describe_turn(rule: Rule, turn: Turn) -> str:
    unsure = ", who may be anyone" if rule.speaker is not None and turn.speaker == Speaker.UNKNOWN else ""
    return f"turn {turn.turn_index} of speaker {turn.speaker}{unsure}"
