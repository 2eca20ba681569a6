"""Read the times that stand beside labels: `00:12`, `[00:00:12.5 - 00:00:15]`, `12s`, `2025-01-10 10:00:05`."""

import re

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
)
BLANK = rf"[\s\x00{INVISIBLE}]"
COLON = "[:：﹕︓︰∶ː꞉]"
_CLOCK = rf"\d{{1,3}}{COLON}\d\d(?:{COLON}\d\d)?(?:[.,]\d{{1,6}})?"
_SECONDS = r"\d{1,6}(?:\.\d{1,6})?\s?s(?:ec(?:onds?)?)?\b"
_DATE = r"\d{4}-\d\d-\d\d[T ]\s?"
_OF_DAY = r"(?:\s?[AaPp]\.?[Mm]\.?|\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))(?![^\W\d_])"
_TIME = rf"(?P<date>{_DATE})?(?:(?P<clock>{_CLOCK})|(?P<seconds>{_SECONDS}))(?P<of_day>{_OF_DAY})?"
TIME_RANGE = rf"{_TIME}(?:\s?(?:-->|->|→|to|[-–—])\s?(?:{_DATE})?(?:{_CLOCK}|{_SECONDS})(?:{_OF_DAY})?)?"
TIME_AT = re.compile(rf"(?P<open>[\[［【(（<{{]?){BLANK}*{TIME_RANGE}{BLANK}*(?P<close>[\]］】)）>}}]?)")
TIME_BEFORE_NAME = re.compile(rf"{BLANK}*@?{BLANK}*{TIME_RANGE}(?![\w:]){BLANK}*[-–—|,@·/]?{BLANK}*")
TIME_BEHIND_NAME = re.compile(rf"{BLANK}*(?:[-–—|,@·/(]|\bat\b)?{BLANK}*(?<![\w:.]){TIME_RANGE}{BLANK}*\)?{BLANK}*$")


def seconds_of(time: re.Match[str]) -> float | None:
    """Return the seconds since the call's begin that a time says; None for a time of the day."""
    if time["date"] or time["of_day"]:
        return None
    if time["seconds"]:
        return float(re.match(r"[\d.]+", time["seconds"])[0])  # type: ignore[index]
    parts = re.split(COLON, time["clock"].replace(",", "."))
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return seconds
