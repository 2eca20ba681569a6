"""Which calls a list shows, as its URL says it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from urllib.parse import parse_qsl, urlencode

from ..core.search_terms import BadTerms, Term, Terms, has_digits, parse_terms
from ..core.statuses import RecordingStatus, Speaker

ANYONE = "anyone"
SPEAKERS = (ANYONE, *(speaker.value for speaker in Speaker))
DIRECTIONS = ("inbound", "outbound")
IN_QUARANTINE = "in_quarantine"
RECORDINGS = (*(status.value for status in RecordingStatus), IN_QUARANTINE, "none")
ORDERS = ("best", "newest", "oldest", "longest")
MAX_CONDITIONS = 8
MAX_DAYS = 3_700
DEFAULT_DAYS = 7
MAX_PAGE = 200
_FIRST_YEAR, _LAST_YEAR = 1900, 9_000
_NO_NUMBERS = (
    "You may not see phone numbers, so the search looks for no digits, of which a number could be put together: a "
    "condition with digits was left out."
)


class BadFilter(ValueError):
    """A list's URL cannot be read. The message is a sentence for the person who opened it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A turn by `speaker` matches `text`, or (`is_without`) none does."""

    is_without: bool
    speaker: str
    text: str
    terms: Terms

    @property
    def columns(self) -> tuple[str, ...]:
        """The speakers whose turns are searched. One who is unknown may be anybody, as in the rules."""
        if self.speaker == ANYONE:
            return tuple(speaker.value for speaker in Speaker)
        return tuple(dict.fromkeys((self.speaker, Speaker.UNKNOWN.value)))


@dataclass(frozen=True, slots=True)
class CallFilter:
    """The calls of a list. A value that is not given holds for every call; `first` and `last` are both included."""

    first: date
    last: date
    conditions: tuple[Condition, ...] = ()
    direction: str = ""
    shortest_seconds: float | None = None
    longest_seconds: float | None = None
    speaker: str = ""
    language: str = ""
    rule: str = ""
    recording: str = ""
    order: str = ""
    page: int = 1
    problems: tuple[str, ...] = field(default=())

    @property
    def is_search(self) -> bool:
        """Whether turns are to be found, of which the list shows a part."""
        return any(not condition.is_without for condition in self.conditions)

    @property
    def effective_order(self) -> str:
        """How the list is sorted: the best matches first where something is searched for."""
        if self.order == "best" and not self.is_search:
            return "newest"
        return self.order or ("best" if self.is_search else "newest")

    @property
    def found_terms(self) -> list[Term]:
        """The terms that are marked in a call's turns."""
        return [term for c in self.conditions if not c.is_without for group in c.terms for term in group]

    def query(self, **changes: object) -> str:
        """Return the list's URL query, with some values changed; an empty value is left out."""
        values: dict[str, object] = {
            "from": self.first.isoformat(),
            "to": self.last.isoformat(),
            "direction": self.direction,
            "shortest": _number_text(self.shortest_seconds),
            "longest": _number_text(self.longest_seconds),
            "speaker": self.speaker,
            "language": self.language,
            "rule": self.rule,
            "recording": self.recording,
            "order": self.order,
            "page": self.page if self.page > 1 else "",
        } | changes
        pairs = [(name, str(value)) for name, value in values.items() if value not in ("", None)]
        for condition in self.conditions:
            kind = "without" if condition.is_without else "with"
            pairs += [("turn", kind), ("by", condition.speaker), ("words", condition.text)]
        return urlencode(pairs)


def read_day(text: str) -> date:
    """Read a date, of years around which a calendar has others. Raises `ValueError`."""
    day = date.fromisoformat(text)
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise ValueError(text)
    return day


def parse_filter(query: str, today: date, newest: date | None, *, may_find_digits: bool) -> CallFilter:
    """Read a list's URL query. A value that cannot be read is left out, and `problems` has a sentence for it.

    Without dates, the list shows the last week that the archive has. Unless somebody `may_find_digits`, conditions with
    digits are left out, too: which calls are found, and what is marked, would say a number digit by digit.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise BadFilter("This address has too many parts.") from None
    reader = _Reader(pairs)
    last = reader.day("to")
    first = reader.day("from")
    if last is None:
        last = newest or today if first is None else max(first, newest or today)
    if first is None:
        first = last - timedelta(days=DEFAULT_DAYS - 1)
    if first > last:
        first, last = last, first
    if (last - first).days >= MAX_DAYS:
        reader.problems.append(f"The range has more than {MAX_DAYS} days: its last {MAX_DAYS} are shown.")
        first = last - timedelta(days=MAX_DAYS - 1)
    return CallFilter(
        first=first,
        last=last,
        conditions=tuple(reader.conditions(may_find_digits=may_find_digits)),
        direction=reader.choice("direction", DIRECTIONS),
        shortest_seconds=reader.seconds("shortest"),
        longest_seconds=reader.seconds("longest"),
        speaker=reader.choice("speaker", SPEAKERS[1:]),
        language=reader.text("language"),
        rule=reader.text("rule"),
        recording=reader.choice("recording", RECORDINGS),
        order=reader.choice("order", ORDERS),
        page=reader.page(),
        problems=tuple(dict.fromkeys(reader.problems)),
    )


class _Reader:
    def __init__(self, pairs: Sequence[tuple[str, str]]):
        self._pairs = pairs
        self._values = {name: value.strip() for name, value in pairs}
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        return self._values.get(name, "")[:100]

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        text = self.text(name)
        if text and text not in allowed:
            self.problems.append(f"“{name}” is none of {', '.join(allowed)}, and was left out.")
            return ""
        return text

    def day(self, name: str) -> date | None:
        text = self.text(name)
        try:
            return read_day(text) if text else None
        except ValueError:
            self.problems.append(f"“{name}” is no date like 2025-01-31, and was left out.")
            return None

    def seconds(self, name: str) -> float | None:
        text = self.text(name)
        try:
            number = float(text) if text else None
        except ValueError:
            number = -1.0
        if number is not None and not 0 <= number < 1e9:
            self.problems.append(f"“{name}” is no number of seconds, and was left out.")
            return None
        return number

    def page(self) -> int:
        text = self.text("page")
        return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text.isdecimal() and len(text) < 9 else 1

    def conditions(self, *, may_find_digits: bool) -> list[Condition]:
        kinds, speakers, texts = (
            [value for name, value in self._pairs if name == of] for of in ("turn", "by", "words")
        )
        found = []
        for number, text in enumerate(texts):
            kind = kinds[number] if number < len(kinds) else "with"
            speaker = speakers[number] if number < len(speakers) else ANYONE
            if speaker not in SPEAKERS:
                self.problems.append("A condition names a speaker that there is not: anyone is searched.")
                speaker = ANYONE
            try:
                terms = parse_terms(text)
            except BadTerms as error:
                self.problems.append(str(error))
                continue
            if has_digits(terms) and not may_find_digits:
                self.problems.append(_NO_NUMBERS)
            elif terms:
                found.append(Condition(kind == "without", speaker, text.strip(), terms))
        if len(found) > MAX_CONDITIONS:
            self.problems.append(f"Only the first {MAX_CONDITIONS} conditions are used.")
        return found[:MAX_CONDITIONS]


def _number_text(number: float | None) -> str:
    return "" if number is None else f"{number:g}"
