"""The text of a notification: what happened, to what, what to do, and where to see more.

Reasons hold texts of upstream, which may be hostile: nothing in them becomes a mention, a link or markup in a chat.
They name no call: ids of calls are on the page of the run.
"""

import re
from collections.abc import Callable, Iterable
from itertools import groupby

from .notification_state import Change, Kind, Level, Problem, day_of_subject
from .redaction import redact

_MAX_REASON_CHARACTERS = 400
_MAX_PARAGRAPHS = 12
_MAX_DAYS_NAMED = 3
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")
# `3 × recording failed: call_a, call_b, … (3 × not audio).`, at the beginning of a sentence or of a clause, and
# `2 of call_ids are not in this archive: call_a, call_b`: what stands behind the colon are ids or object keys of calls.
_NAME = r"[\w.=/-]*[\w=/-]"
_NAMES_OF_CALLS = re.compile(
    rf"((?:^|(?<=[:;] ))\d[\d,]* (?:×|of them|of call_ids) .*?): {_NAME}(?:, {_NAME})*(?:,? ?…)?(?=\.?$| \(|; )"
)
_OF_ONE_CALL = (
    (re.compile(r"(/dt=\d{4}-\d\d-\d\d/)[^\s,;]*[^\s,;:.)]"), r"\1…"),
    (re.compile(r"(/calls/)[^/\s:,;)]+"), r"\1…"),
    (re.compile(r"^\S+ (is not held|cannot be both resent and settled)\b"), r"A call \1"),
)
_SCHEME = re.compile(r"(?i)\b(?:https?|ftp|mailto|javascript|data):/{0,2}(?=\S)")
_LOOK_ALIKES = str.maketrans(
    {"<": "‹", ">": "›", "@": "＠", "`": "'", "[": "(", "]": ")", "*": "∗", "&": "＆", "~": "∼"}
)


def neutralise(text: str) -> str:
    """Return a text in which nothing is a mention, a link, an image or markup for a chat or a mail program."""
    return _SCHEME.sub("", text).translate(_LOOK_ALIKES)


def shorten_reason(text: str) -> str:
    """Return the first sentences of a failure, at most about 400 characters, without ids of calls and secrets."""
    shown = ""
    for sentence in _SENTENCE_ENDS.split(text.strip()):
        clean = redact(_remove_calls(sentence.strip()))
        if shown and len(shown) + len(clean) > _MAX_REASON_CHARACTERS:
            break
        shown = f"{shown} {clean}".strip()
    return shown


def _remove_calls(sentence: str) -> str:
    shown = _NAMES_OF_CALLS.sub(r"\1", sentence)
    for pattern, replacement in _OF_ONE_CALL:
        shown = pattern.sub(replacement, shown)
    return shown


def write_title(changes: Iterable[Change], archive: str) -> str:
    """Return one line: how many changes of each kind, and of which archive."""
    counts: dict[str, int] = {}
    for change in changes:
        is_warning = isinstance(change.what, Problem) and change.what.level == Level.WARNING
        name = "warning" if is_warning and change.kind == Kind.RED else change.kind.lower()
        counts[name] = counts.get(name, 0) + 1
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())}: {neutralise(archive)}"


def write_body(
    changes: list[Change], *, run_url: Callable[[str], str], runbook_url: Callable[[str], str], seal_head: str = ""
) -> str:
    """Return a paragraph for each change; days that changed for the same reason share one.

    `seal_head` is the head of the seal chain, which a message carries out of the account.
    """
    groups = [list(group) for _, group in groupby(sorted(changes, key=_place_of), key=_place_of)]
    shown = [_write_paragraph(group, run_url, runbook_url) for group in groups[:_MAX_PARAGRAPHS]]
    hidden = sum(map(len, groups[_MAX_PARAGRAPHS:]))
    more = [f"And {hidden} more changes: see the Dagster UI."] if hidden else []
    witness = [f"Head of the seal chain: {neutralise(seal_head)}"] if seal_head else []
    return "\n\n".join([*shown, *more, *witness])


def _place_of(change: Change) -> tuple[str, ...]:
    """Return what a paragraph is sorted and grouped by: days by their reason without its numbers, others by name."""
    is_warning = isinstance(change.what, Problem) and change.what.level == Level.WARNING
    rank = "2" if change.kind == Kind.RESOLVED else "1" if is_warning else "0"
    if day_of_subject(change.subject) is not None:
        return rank, change.kind, "day", re.sub(r"\d+", "#", change.what.reason)
    return rank, change.kind, "other", change.subject


def _write_paragraph(group: list[Change], run_url: Callable[[str], str], runbook_url: Callable[[str], str]) -> str:
    first = group[0]
    name = neutralise(first.subject)
    if len(group) > 1:
        days = ", ".join(str(day_of_subject(change.subject)) for change in group[:_MAX_DAYS_NAMED])
        name = f"{len(group)} days ({days}{', …' if len(group) > _MAX_DAYS_NAMED else ''}); of the first"
    is_warning = isinstance(first.what, Problem) and first.what.level == Level.WARNING
    kind = "WARNING" if is_warning and first.kind == Kind.RED else first.kind.value
    lines = [f"{kind}: {name}: {neutralise(first.what.reason)}"]
    if isinstance(first.what, Problem):
        if first.what.what_to_do:
            lines.append(f"What to do: {neutralise(first.what.what_to_do)}")
        lines.append(f"Runbook: {runbook_url(first.subject)}")
    if first.what.run_id:
        lines.append(f"Run: {run_url(first.what.run_id)}")
    return "\n".join(lines)
