"""Render the templates. Everything that comes from a call is escaped; nothing of it is ever a script or a URL."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from .access import viewer_of
from .phone_masking import mask_number, mask_numbers_in

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
_LONGEST_WORD = 24
Segment = tuple[str, str]
"""A part of a text, and how it is marked: `found`, `rule`, both or not at all."""


def format_seconds(seconds: float | None) -> str:
    """Return a length or a moment as people read it: `3:05`, `1:02:03`."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_bytes(size: int | None) -> str:
    """Return a size in bytes as people read it."""
    if size is None:
        return "–"
    return f"{size:,} B" if size < 10_000 else f"{size / 1e3:,.0f} kB" if size < 10e6 else f"{size / 1e6:,.1f} MB"


def format_time(at: datetime | str | None) -> str:
    """Return a moment in UTC, to the second."""
    if at is None or at == "":
        return "–"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def find_label(value: str, choices: Sequence[Any]) -> str:
    """Return the label of one of a form's verdicts, answers or questions; the value where the form has it no more."""
    names = {getattr(choice, "value", None) or getattr(choice, "id", ""): choice.label for choice in choices}
    return str(names.get(value, value))


def cut_into_segments(text: str, marks: Iterable[tuple[int, int, str]]) -> list[Segment]:
    """Cut a text at marks: begin, end (exclusive) and kind. Where marks overlap, a segment has the kinds of all."""
    borders: list[tuple[int, int, str]] = [(len(text), 0, "")]
    for begin, end, kind in marks:
        if 0 <= begin < end <= len(text):
            borders += [(begin, 1, kind), (end, -1, kind)]
    segments: list[Segment] = []
    at, open_marks = 0, Counter[str]()
    for border, change, kind in sorted(borders):
        if border > at:
            segments.append((text[at:border], " ".join(sorted(open_marks))))
            at = border
        open_marks[kind] += change
        if open_marks[kind] == 0:
            del open_marks[kind]
    return segments


def shorten_around(text: str, marks: Sequence[tuple[int, int, str]], width: int = 160) -> list[Segment]:
    """Return the part of a text around its first mark, as segments. It is cut at blanks where there are some."""
    first = min((begin for begin, _, _ in marks), default=0)
    begin = max(0, first - width // 3)
    end = min(len(text), begin + width)
    if begin:
        begin = max(begin, text.find(" ", begin - 1, min(begin + _LONGEST_WORD, first)) + 1)
    if end < len(text):
        blank = text.rfind(" ", max(end - _LONGEST_WORD, first + 1), end + 1)
        end = blank if blank > 0 else end
    inside = [(max(b, begin) - begin, min(e, end) - begin, kind) for b, e, kind in marks if b < end and e > begin]
    segments = cut_into_segments(text[begin:end], inside)
    return [*([("… ", "")] if begin else []), *segments, *([(" …", "")] if end < len(text) else [])]


class Renderer:
    """Renders pages for whoever asks. `files_version` changes the addresses of style and script when they change."""

    def __init__(self, archive_url: str, files_version: str):
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "seconds": format_seconds,
            "bytes": format_bytes,
            "time": format_time,
            "label": find_label,
        }
        self._environment.globals |= {"archive_url": archive_url, "files_version": files_version}

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Render one template as a page, or as the part of one."""
        viewer = viewer_of(request)

        def number(text: str | None) -> str:
            return (text if viewer.sees_numbers else mask_number(text)) or "–"

        def speech(text: str) -> str:
            return text if viewer.sees_numbers else mask_numbers_in(text)

        html = self._environment.get_template(template).render(
            viewer=viewer, number=number, speech=speech, path=request.url.path, **values
        )
        return HTMLResponse(html, status)
