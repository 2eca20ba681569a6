"""Declare settings, and read their texts. The settings themselves are declared in source/, archive/ and steps/.

A `Setting` knows its name, default, help and parser. A `SettingsReader` parses the texts that the environment gives and
collects one problem for each bad or missing setting, so that all of them are reported together.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

_MAX_DIGITS = 9
_MAX_SHOWN_CHARACTERS = 20
_MAX_SHOWN_NAME_CHARACTERS = 60
_PREFIXES = ("KROS_", "KROSAI_")
_TEST_PREFIX = "KROS_TEST_"  # variables of the tests, never refused
# Kubernetes puts these into every container, for a service whose name begins with `kros`, like `kros-archive`.
_OF_A_SERVICE = re.compile(
    r"[A-Z0-9_]+_(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
).fullmatch

Value = TypeVar("Value")
Fallback = TypeVar("Fallback")


class BadSettings(ValueError):
    """One or more settings cannot be used. `problems` has one sentence for each; the sentence begins with its name."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__(" ".join(problems))


class BadValue(ValueError):
    """A parser does not accept a text. The message continues a sentence that begins with the setting's name."""


@dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """One setting, declared once.

    `default` is a text like the environment's; where it is None, `default_in_words` says in Markdown what applies
    instead. `help` is the meaning, in Markdown, as the README prints it. `parse` raises `BadValue`. A required setting
    has `missing`, which says what is missing. The value of a secret appears in no message and no `repr`.
    """

    name: str
    default: str | None
    help: str
    parse: Callable[[str], Value]
    default_in_words: str = "none"
    missing: str | None = None
    is_secret: bool = False


class SettingsReader:
    """Read settings from texts, and collect a sentence in `problems` for each that is missing or bad.

    An absent, None or blank text is a setting that is not given. After a problem the reader returns the default or a
    placeholder, so that the caller can go on to the next setting; the caller raises `BadSettings` at the end.
    """

    def __init__(self, texts: Mapping[str, str | None]):
        self._texts = {name: text.strip() for name, text in texts.items() if text and text.strip()}
        self.problems: list[str] = []

    def is_given(self, setting: Setting[Any]) -> bool:
        """Return whether the setting has a text, good or bad."""
        return setting.name in self._texts

    def value(self, setting: Setting[Value]) -> Value:
        """Return the value of a setting that has a default."""
        if setting.default is None:
            raise TypeError(f"{setting.name} has no default: read it with `optional` or `required`")
        return self.optional(setting, setting.parse(setting.default))

    def optional(self, setting: Setting[Value], fallback: Fallback) -> Value | Fallback:
        """Return the value, or `fallback` where the setting is not given or bad."""
        text = self._texts.get(setting.name)
        if text is None:
            return fallback
        try:
            return setting.parse(text)
        except BadValue as problem:
            self.add_problem(f"{setting.name} {problem}")
            return fallback

    def required(self, setting: Setting[Value], placeholder: Value) -> Value:
        """Return the value; where it is missing or bad, add a problem and return the placeholder."""
        if not self.is_given(setting):
            self.add_problem(f"{setting.name} is missing: {setting.missing}.")
        return self.optional(setting, placeholder)

    def refuse_unknown_names(self, settings: Iterable[Setting[Any]]) -> None:
        """Add a problem for each name that looks like a setting's and is none of `settings`. Its value is not shown.

        A misspelt setting was ignored once: the run used the default, and nobody noticed.
        """
        declared = [setting.name for setting in settings]
        for name in find_unknown_names(self._texts, declared):
            nearest = suggest_name(name, declared)
            hint = f"did you mean {nearest}?" if nearest else "the README lists all settings."
            self.add_problem(f"{_show_name(name)} is no setting: {hint}")

    def add_problem(self, sentence: str) -> None:
        """Add a problem, once: source, archive and steps all read `KROS_DOWNLOAD_WORKERS`."""
        if sentence not in self.problems:
            self.problems.append(sentence)


def find_unknown_names(names: Iterable[str], declared: Iterable[str]) -> list[str]:
    """Return the names that begin with `KROS_` or `KROSAI_`, in any case, and are not declared; sorted.

    `KROS_TEST_*` belongs to the tests and is never among them, nor is what Kubernetes derives from a service's name
    (`KROS_ARCHIVE_SERVICE_HOST`, `KROS_ARCHIVE_PORT_443_TCP`).
    """
    ours = (name for name in names if name.upper().startswith(_PREFIXES) and not name.upper().startswith(_TEST_PREFIX))
    return sorted(name for name in set(ours) - set(declared) if not _OF_A_SERVICE(name))


def suggest_name(name: str, declared: Iterable[str]) -> str | None:
    """Return the declared name that a misspelt one probably means; None where no name is near.

    The prefix does not count: every name has one, and `KROS_API_KEY` means `KROSAI_API_KEY`.
    """
    name_by_stem = {known.partition("_")[2]: known for known in declared}
    nearest = get_close_matches(name.upper().partition("_")[2], name_by_stem, n=1, cutoff=0.7)
    return name_by_stem[nearest[0]] if nearest else None


def _show_name(name: str) -> str:
    """Return an unknown name as its sentence shows it: on one line, and not longer than a name is."""
    cut = name if len(name) <= _MAX_SHOWN_NAME_CHARACTERS else f"{name[:_MAX_SHOWN_NAME_CHARACTERS]}…"
    return cut if cut.isprintable() else repr(cut)


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts one of a few words in any case, and returns the word as it is declared."""

    def parse(text: str) -> str:
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise BadValue(f"is {show_value(text)}; it must be one of {', '.join(allowed)}.")

    return parse


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return a parser that accepts decimal digits from `minimum` to `maximum`, both included."""
    limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        # Python refuses to read a number of 5,000 digits, and `isdecimal` accepts the digits of every script.
        number = int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else -1
        if number < minimum or (maximum is not None and number > maximum):
            raise BadValue(f"is {show_value(text)}; it must be a whole number {limits}.")
        return number

    return parse


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):  # NaN is refused too
        raise BadValue(f"is {show_value(text)}; it must be a number above 0.")
    return number


def header_text(text: str) -> str:
    """Parse a text that is sent in an HTTP header. The text may be a secret, and is never shown."""
    if not (text.isascii() and text.isprintable()):
        raise BadValue("holds characters that cannot be sent in a header.")
    return text


def show_value(text: str) -> str:
    """Return a bad value as its sentence shows it. A long one may be a secret in the wrong place, and is cut.

    A number of any length is shown: it is no secret.
    """
    is_short = len(text) <= _MAX_SHOWN_CHARACTERS or text.isdecimal()
    return repr(text) if is_short else f"{text[:4]!r}… (not shown whole)"


def is_webhook(url: str) -> bool:
    """Return whether messages may be posted to a URL: https, or plain http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # `port` raises where it is no port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def is_loopback(host: str) -> bool:
    """Return whether a name or a literal address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Declared here because source and archive both size their connection pools by it, and neither imports the other.
DOWNLOAD_WORKERS = Setting(
    "KROS_DOWNLOAD_WORKERS", "32", "how many recordings are downloaded at once", whole_number(1, 256)
)
