"""Read the label at the beginning of a line, in every spelling that was seen, and say how sure it is one.

A label may be decorated (`**[Caller]:**`, `- Caller:`), have a time beside or inside it (`[00:12] [Caller]:`,
`[Caller 00:12]:`), other brackets and colons (`【Caller】：`), and characters that show nothing anywhere. Every pattern
is tried at one place and bounded, so that a line of any length costs little.
"""

import html
import re
from dataclasses import dataclass, replace
from enum import IntEnum

from .label_names import MAX_NAME_CHARS, Kind, is_capitalised, kind_of, may_be_free_name
from .speaker_roles import SpeakerRoles, is_numbered_speaker
from .spoken_times import BLANK, COLON, INVISIBLE, TIME_AT, TIME_BEFORE_NAME, TIME_BEHIND_NAME, TIME_RANGE, seconds_of
from .statuses import Speaker

_OPEN, _CLOSE = "[［【〔〖「『（({｛<＜〈《⟨❲", "]］】〕〗」』）)}｝>＞〉》⟩❳"
_CLOSER_OF = dict(zip(_OPEN, _CLOSE, strict=True))
_SQUARE = frozenset("[［【〔〖❲")
_TAG = r"</?(?i:b|strong|i|em|u|p|div|span|font|li|ul|h[1-6])\b[^<>\n]{0,60}>"
_NO_SIGN = r"&(?:amp;)?(?:nbsp|e[mn]sp|thinsp|zwn?j|[lr]rm|shy|bull|[mn]dash|#0*160|#[xX]0*(?:[aA]0|200[b-fB-F]));"
_PREFIX = re.compile(
    rf"(?:[^\w\n&{re.escape(_OPEN)}]|&(?![#\w])|{_NO_SIGN}|_|{_TAG}|\d{{1,4}}[.)](?=\s)|\d{{1,5}}(?=\s{{1,3}}[\[［【]))*"
)
_ENTITY = r"&(?:amp;)?(?P<{}>#?\w{{1,8}});"
_ESCAPED = re.compile(
    rf"{_ENTITY.format('open')}{BLANK}*(?P<name>[^&\n]{{1,64}}?){BLANK}*{_ENTITY.format('close')}{BLANK}*{COLON}+{BLANK}*"
)
_GAP = re.compile(rf"(?:{BLANK}|[*_~`]|{_TAG})*")
_AFTER_CLOSER = re.compile(rf"(?:[^\w\n:：﹕︓︰∶ː꞉{re.escape(_OPEN)}]|_|{_TAG}){{0,12}}")
_BLANKS = re.compile(rf"{BLANK}*")
_COLONS = re.compile(rf"{BLANK}*(?:{COLON}+{BLANK}*)?")
_CLOSING = re.compile(rf"[*＊]+|[_]+|[~]+|[`]+|[\"'”’]|{_TAG}")
_AROUND_NAME = re.compile(rf"\A(?:{BLANK}|[*`\\]|{_TAG})+|(?:{BLANK}|[*`\\\"”»]|{_TAG})+\Z")
_CLOSING_SIGN_OF = str.maketrans("“‘", "”’")
_TIME_JOINT = re.compile(rf"(?:{BLANK}|[-–—|,·>]|[*_~`]|{COLON})*")
_COLON_AT = re.compile(COLON)
_FREE_COLON = re.compile(rf"[：﹕︓]|>(?=\s)|{COLON}(?=$|[\s*_~`<{INVISIBLE}]|[^\x00-\x7f])")
_JOINT_WITHOUT_COLON = re.compile(rf"(?:{BLANK}|[-–—=]?>|[-–—|;.,])*")
_NAME_CHARS = rf"[^\n:：﹕︓︰∶ː꞉{re.escape(_OPEN + _CLOSE)}]"
_FREE_NAME = re.compile(rf"[^\W\d_]{_NAME_CHARS}{{0,47}}(?:[（(][^\n:()（）]{{1,40}}[)）])?")
_FREE_NAME_AND_TIME = re.compile(
    rf"(?P<name>[^\W\d_]{_NAME_CHARS}{{0,47}}?){BLANK}*(?:[-–—|,@·]{BLANK}*)?(?P<open>[\[(（【]?){BLANK}*"
    rf"(?<![\w:.]){TIME_RANGE}{BLANK}*(?P<close>[\])）】]?)"
)
_BROKEN = re.compile(
    rf"[{re.escape(_OPEN)}]?(?P<name>[^\W\d_][\w .'’#\-]{{0,40}}?){BLANK}*[{re.escape(_CLOSE)}]?{BLANK}*"
    rf"{COLON}{BLANK}*[{re.escape(_CLOSE)}]?"
)


class Certainty(IntEnum):
    """How sure a line begins with a label."""

    IN_FREE_FORMAT = 1  # a name and a colon, without brackets: a label only in a text that has others
    WITHOUT_COLON = 2  # a name in brackets only: a label only in a text whose labels have no colons
    DOUBTFUL = 3  # looks like a label in a text that has others
    FREE_ROLE = 4  # the name of a role and a colon, without brackets
    SURE = 5  # makes the text one with labels


@dataclass(frozen=True, slots=True)
class LabelLine:
    """The label of a line: who speaks, the label as written, and where the speech begins.

    `start_seconds` is None where no time stands beside the label. `opener` is the bracket before it; empty without one.
    """

    speaker: Speaker
    name: str
    speech_begin: int
    start_seconds: float | None
    certainty: Certainty
    opener: str
    has_colon: bool = True


def read_label(text: str, begin: int, end: int, roles: SpeakerRoles) -> LabelLine | None:
    """Read the label at the beginning of the line `text[begin:end]`; None where it begins with no label."""
    at, seconds = begin, None
    for _ in range(3):  # a time, and what else stands in brackets before the label
        at = _match_end(_PREFIX, text, at, end)
        time = TIME_AT.match(text, at, end)
        if time is not None and bool(time["open"]) == bool(time["close"]):
            joint = _TIME_JOINT.match(text, time.end(), end)
            seconds = seconds_of(time) if seconds is None else seconds
            at = joint.end() if joint else time.end()
        if at >= end or text[at] not in _CLOSER_OF:
            escaped = _read_escaped(text, at, end, roles, seconds) if text[at : at + 1] == "&" else None
            if escaped is not None:
                return escaped
            break
        found = _read_bracketed(text, at, end, roles, seconds)
        if found is None:
            return _read_broken(text, at, end, roles, seconds)
        if isinstance(found, LabelLine):
            return found
        at = found
    if at >= end:
        return None
    return _read_free(text, at, end, roles, seconds) or _read_broken(text, at, end, roles, seconds)


def read_time_line(text: str, begin: int, end: int) -> float | None:
    """Return the seconds of a line that holds a time since the call's begin, and nothing else."""
    at = _match_end(_PREFIX, text, begin, end)
    time = TIME_AT.match(text, at, end)
    if time is None or text[_match_end(_TIME_JOINT, text, time.end(), end) : end].strip():
        return None
    return seconds_of(time)


def _read_bracketed(
    text: str, at: int, end: int, roles: SpeakerRoles, seconds: float | None, *, may_follow: bool = True
) -> "LabelLine | int | None":
    """Read a label in brackets; the place behind them where it is none but one may follow; None where there is none."""
    opener = text[at]
    inner = at + 1 + (text[at + 1 : at + 2] == opener)
    close = text.find(_CLOSER_OF[opener], inner, min(end, inner + 2 * MAX_NAME_CHARS))
    if close > 0 and opener in text[inner:close]:
        close = text.find(_CLOSER_OF[opener], close + 1, min(end, inner + 2 * MAX_NAME_CHARS))
    if close < 0 or text[inner : inner + 1] == "/":
        return None
    behind = close + 1 + (text[close + 1 : close + 2] == _CLOSER_OF[opener] and inner - at > 1)
    name, inside = _split_time(text[inner:close])
    seconds = inside if seconds is None else seconds
    gap = _match_end(_AFTER_CLOSER, text, behind, end)
    time = TIME_AT.match(text, gap, end)
    if time is not None and bool(time["open"]) == bool(time["close"]):
        after = _match_end(_AFTER_CLOSER, text, time.end(), end)
        is_beside = time["open"] or _COLON_AT.match(text, after, end) or after >= end
        if is_beside or any(sign in text[time.end() : after] for sign in "-–—|"):
            seconds, behind, gap = seconds_of(time) if seconds is None else seconds, time.end(), after
    colon = _COLON_AT.match(text, gap, end)
    certainty, speaker = _judge_bracketed(name, opener, colon is not None, roles)
    if certainty is None:
        return None if colon or not (name or inside is not None) else _match_end(_GAP, text, behind, end)
    if colon is not None:
        speech = _speech_begin(text, at, colon.end(), end)
    else:
        follows = _read_following(text, gap, end, roles, seconds) if may_follow else None
        if follows is not None and (speaker is Speaker.OTHER or roles.is_known(follows.name)):
            return follows
        if follows is not None:  # `[Caller] [angry]:`
            return replace(follows, speaker=speaker, name=name)
        speech = _match_end(_JOINT_WITHOUT_COLON, text, behind, end)
    name = name or text[at : close + 1]
    return LabelLine(speaker, name, speech, seconds, certainty, opener, has_colon=colon is not None)


def _read_following(text: str, at: int, end: int, roles: SpeakerRoles, seconds: float | None) -> LabelLine | None:
    """Read the sure label behind brackets that are none: `[Channel 1] [Agent]:`."""
    if at >= end or text[at] not in _CLOSER_OF:
        return None
    found = _read_bracketed(text, at, end, roles, seconds, may_follow=False)
    return found if isinstance(found, LabelLine) and found.certainty is Certainty.SURE else None


def _judge_bracketed(name: str, opener: str, has_colon: bool, roles: SpeakerRoles) -> tuple[Certainty | None, Speaker]:
    """Say how sure a text between brackets is a label, and who it names."""
    kind, speaker = kind_of(name), roles.speaker_of(name) if name else Speaker.OTHER
    if kind is Kind.NOTHING or kind is Kind.EVENT:
        return (Certainty.DOUBTFUL, Speaker.UNKNOWN) if kind is Kind.NOTHING and has_colon else (None, speaker)
    if speaker is not Speaker.OTHER:
        return Certainty.SURE, speaker
    if kind is Kind.NAME and has_colon:
        if opener in _SQUARE:
            return Certainty.SURE, speaker
        return Certainty.DOUBTFUL, speaker if is_capitalised(name) else Speaker.UNKNOWN
    if has_colon:
        return Certainty.DOUBTFUL, Speaker.UNKNOWN
    if kind is Kind.NAME and opener != "<":
        # `[PHONE_NUMBER]` stands for something that was said.
        is_name = opener in _SQUARE and is_capitalised(name) and not name.isupper() and len(name.split()) <= 3
        return (Certainty.DOUBTFUL if is_name else Certainty.WITHOUT_COLON), Speaker.UNKNOWN
    return None, speaker


def _read_free(text: str, at: int, end: int, roles: SpeakerRoles, seconds: float | None) -> LabelLine | None:
    """Read a label without brackets: `Caller:`, `00:12 Caller:`, `Caller (00:12):`, or a line of name and time only."""
    timed = _FREE_NAME_AND_TIME.match(text, at, end)
    if timed is not None and bool(timed["open"]) == bool(timed["close"]):
        name, place = _strip(timed["name"]), timed.end()
        seconds = seconds_of(timed) if seconds is None else seconds
    else:
        written = _FREE_NAME.match(text, at, end)
        if written is None:
            return None
        name, place, timed = _strip(written[0]), written.end(), None
    place = _match_end(_GAP, text, place, end)
    colon = _FREE_COLON.match(text, place, end)
    speaker = roles.speaker_of(name)
    if colon is None:
        if speaker is Speaker.OTHER or timed is None or text[place:end].strip():
            return None
        return LabelLine(speaker, name, place, seconds, Certainty.FREE_ROLE, "", has_colon=False)
    speech = _speech_begin(text, at, colon.end(), end)
    if speaker is not Speaker.OTHER:
        return LabelLine(speaker, name, speech, seconds, Certainty.FREE_ROLE, "")
    if is_numbered_speaker(name):
        return LabelLine(speaker, name, speech, seconds, Certainty.IN_FREE_FORMAT, "")
    if not may_be_free_name(name):
        return None
    certainty = Certainty.DOUBTFUL if seconds is not None else Certainty.IN_FREE_FORMAT
    return LabelLine(Speaker.UNKNOWN, name, speech, seconds, certainty, "")


def _read_escaped(text: str, at: int, end: int, roles: SpeakerRoles, seconds: float | None) -> LabelLine | None:
    """Read a label whose brackets are HTML entities: `&lt;Caller&gt;:`, `&#91;Caller&#93;:`."""
    written = _ESCAPED.match(text, at, end)
    if written is None:
        return None
    opener = html.unescape(f"&{written['open']};")
    if opener not in _CLOSER_OF and opener not in "\"'":
        return None
    speaker = roles.speaker_of(written["name"])
    if speaker is Speaker.OTHER:
        return LabelLine(Speaker.UNKNOWN, written["name"], written.end(), seconds, Certainty.DOUBTFUL, opener)
    return LabelLine(speaker, written["name"], written.end(), seconds, Certainty.SURE, opener)


def _read_broken(text: str, at: int, end: int, roles: SpeakerRoles, seconds: float | None) -> LabelLine | None:
    """Read the name of a role with one bracket missing or of another kind: `[Caller:`, `Caller]:`, `[Caller}:`."""
    written = _BROKEN.match(text, at, end)
    if written is None:
        return None
    speaker = roles.speaker_of(written["name"].strip())
    if speaker is Speaker.OTHER or not any(char in _OPEN + _CLOSE for char in written[0]):
        return None
    return LabelLine(speaker, written["name"].strip(), written.end(), seconds, Certainty.DOUBTFUL, "")


def _split_time(written: str) -> tuple[str, float | None]:
    """Separate the time in a label from its name: `Caller 00:12`, `00:12 Caller`, `Caller @ 1:02`."""
    for pattern in (TIME_BEHIND_NAME, TIME_BEFORE_NAME):
        found = pattern.search(written) if pattern is TIME_BEHIND_NAME else pattern.match(written)
        if found is not None and any(char.isalpha() for char in written[: found.start()] + written[found.end() :]):
            rest = written[: found.start()] + written[found.end() :]
            return _strip(rest), seconds_of(found)
    return _strip(written), None


def _strip(written: str) -> str:
    """Return a name without blanks, characters that show nothing, and marks of decoration around it."""
    return _AROUND_NAME.sub("", written)


def _speech_begin(text: str, label: int, at: int, end: int) -> int:
    """Return where the speech begins behind a colon: after marks that close what was opened before the label."""
    at = _match_end(_COLONS, text, at, end)
    closing = _CLOSING.match(text, at, end)
    if closing is None:
        return at
    before = text[max(0, label - 80) : label].rpartition("\n")[2]
    sign = closing[0][0]
    return closing.end() if (">" if sign == "<" else sign) in before.translate(_CLOSING_SIGN_OF) else at


def _match_end(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    found = pattern.match(text, at, end)
    return found.end() if found is not None else at
