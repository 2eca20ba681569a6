"""The settings of a run: read in one place, from what the environment says, before the first request.

`parse_settings` finds every bad or missing one and names it; nothing else in the package reads a setting's text.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from ..source.plans import PLANS, Plan
from .pseudonyms import LEAST_KEY_CHARACTERS

DEFAULT_BASE_URL = "https://api.krosai.com/v1"
DEFAULT_START_DATE = "2025-01-01"
DEFAULT_RECORDING_HOST = "storage.krosai.com"

# Every setting, with its default as text (None: none). `KROS_START_DATE` is the one that definitions read at load.
SETTINGS: dict[str, str | None] = {
    "KROSAI_API_KEY": None,
    "KROSAI_AUTH": "x-api-key",
    "KROSAI_BASE_URL": DEFAULT_BASE_URL,
    "KROSAI_ORGANIZATION_ID": None,
    "KROSAI_PLAN": "pro",
    "KROSAI_RETENTION_DAYS": None,
    "KROSAI_REQUESTS_PER_SECOND": None,
    "KROSAI_REQUESTS_PER_RUN": None,
    "KROS_RECORDING_HOSTS": None,
    "KROS_ARCHIVE_URL": None,
    "KROS_SSE": None,
    "KROS_KMS_KEY_ID": None,
    "KROS_START_DATE": DEFAULT_START_DATE,
    "KROS_LOOKBACK_DAYS": "3",
    "KROS_TRANSCRIPT_DETAILS": "missing",
    "KROS_FLAG_RULES": None,
    "KROS_DOWNLOAD_WORKERS": "32",
    "KROS_LEGAL_HOLD": "off",
    "KROS_ERASURE_KEY": None,
    "KROS_WEBHOOK_URL": None,
}

_MOST_DIGITS = 9
_MOST_SHOWN = 20
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*").fullmatch
_MOST_DAYS = 36_500  # where a plan sets no end: a century, so that every day counted from it is a date
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?").fullmatch


class BadSettings(ValueError):
    """One or more settings cannot be used; `problems` has a sentence for each, which names it."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__(" ".join(problems))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is told. Rates are requests a second, budgets requests a run; None is without limit."""

    api_key: str = field(repr=False)
    auth: str
    base_url: str
    organization_id: str | None
    plan: Plan
    retention_days: int | None
    requests_per_second: float | None
    requests_per_run: int | None
    recording_hosts: frozenset[str]
    bucket: str
    prefix: str
    sse: str | None
    kms_key_id: str | None
    lookback_days: int
    ask_every_transcript: bool
    download_workers: int
    legal_hold: bool = False
    erasure_key: str | None = field(default=None, repr=False)


def parse_settings(texts: Mapping[str, str | None]) -> Settings:
    """Reads the texts of the settings (absent, None and blank are the same). Raises `BadSettings` with all problems."""
    reader = _Reader({**SETTINGS, **{name: text.strip() for name, text in texts.items() if text and text.strip()}})
    plan = PLANS[reader.one_of("KROSAI_PLAN", tuple(PLANS))]
    most_days = None if reader.problems else plan.maximum_retention_days  # of a plan that nobody named, nothing follows
    base_url, base_host = reader.base_url()
    bucket, prefix = reader.archive_url()
    retention = reader.whole("KROSAI_RETENTION_DAYS", 1, plan.default_retention_days, most_days or _MOST_DAYS)
    per_run = plan.requests_per_day and plan.requests_per_day // 2
    settings = Settings(
        api_key=reader.required("KROSAI_API_KEY", "the key that the KrosAI dashboard shows"),
        auth=reader.one_of("KROSAI_AUTH", ("x-api-key", "bearer")),
        base_url=base_url,
        organization_id=reader.header("KROSAI_ORGANIZATION_ID"),
        plan=plan,
        retention_days=retention,
        requests_per_second=reader.rate("KROSAI_REQUESTS_PER_SECOND", plan.requests_per_second),
        requests_per_run=reader.whole("KROSAI_REQUESTS_PER_RUN", 1, per_run),
        recording_hosts=reader.hosts("KROS_RECORDING_HOSTS", frozenset({DEFAULT_RECORDING_HOST, base_host})),
        bucket=bucket,
        prefix=prefix,
        sse=reader.texts["KROS_SSE"] and reader.one_of("KROS_SSE", ("aws:kms", "AES256")),
        kms_key_id=reader.header("KROS_KMS_KEY_ID"),
        lookback_days=reader.whole("KROS_LOOKBACK_DAYS", 0, 3) or 0,
        ask_every_transcript=reader.one_of("KROS_TRANSCRIPT_DETAILS", ("missing", "always")) == "always",
        download_workers=reader.whole("KROS_DOWNLOAD_WORKERS", 1, 32, 256) or 1,
        legal_hold=reader.one_of("KROS_LEGAL_HOLD", ("off", "on")) == "on",
        erasure_key=reader.texts["KROS_ERASURE_KEY"],
    )
    if (reader.texts["KROS_SSE"] or "").lower() == "aws:kms" and not settings.kms_key_id:
        reader.problems.append("KROS_KMS_KEY_ID is missing: KROS_SSE=aws:kms needs the key's id or ARN.")
    if settings.kms_key_id and settings.sse != "aws:kms":
        reader.problems.append("KROS_KMS_KEY_ID is set, but KROS_SSE is not aws:kms.")
    if plan.requests_per_second is None and reader.texts["KROSAI_REQUESTS_PER_SECOND"] is None:
        reader.problems.append(f"KROSAI_REQUESTS_PER_SECOND is missing: the rate of plan {plan.name} is by contract.")
    if settings.erasure_key is not None and len(settings.erasure_key) < LEAST_KEY_CHARACTERS:
        reader.problems.append(f"KROS_ERASURE_KEY must have at least {LEAST_KEY_CHARACTERS} characters.")
    webhook_url = reader.texts["KROS_WEBHOOK_URL"]
    if webhook_url and not is_webhook(webhook_url):
        reader.problems.append("KROS_WEBHOOK_URL must be a whole https URL.")  # it is a secret, and not shown
    if reader.problems:
        raise BadSettings(reader.problems)
    return settings


def parse_start_date(text: str | None) -> date:
    """The first partition. Raises `BadSettings`."""
    try:
        return date.fromisoformat((text or "").strip() or DEFAULT_START_DATE)
    except ValueError:
        raise BadSettings([f"KROS_START_DATE is {_shown(text or '')}, not a date like {DEFAULT_START_DATE}."]) from None


class _Reader:
    """Reads one setting after the other, and keeps a sentence for each that cannot be read."""

    def __init__(self, texts: Mapping[str, str | None]):
        self.texts = texts
        self.problems: list[str] = []

    def required(self, name: str, what: str) -> str:
        text = self.texts[name]
        if not text:
            self.problems.append(f"{name} is missing: {what}.")
        return self.header(name) or ""

    def header(self, name: str) -> str | None:
        text = self.texts[name]
        if text and not (text.isascii() and text.isprintable()):
            self.problems.append(f"{name} holds characters that cannot be sent in a header.")
        return text

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        text = self.texts[name] or allowed[0]
        for value in allowed:
            if text.lower() == value.lower():
                return value
        self.problems.append(f"{name} is {_shown(text)}; it must be one of {', '.join(allowed)}.")
        return allowed[0]

    def whole(self, name: str, least: int, default: int | None, most: int | None = None) -> int | None:
        text = self.texts[name]
        if text is None:
            return default
        number = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
        if number >= least and (most is None or number <= most):
            return number
        limit = f"from {least} to {most}" if most is not None else f"of at least {least}"
        self.problems.append(f"{name} is {_shown(text)}; it must be a whole number {limit}.")
        return default

    def rate(self, name: str, default: float | None) -> float | None:
        text = self.texts[name]
        if text is None:
            return default
        try:
            if 0 < float(text) < float("inf"):
                return float(text)
        except ValueError:
            pass
        self.problems.append(f"{name} is {_shown(text)}; it must be a number above 0.")
        return default

    def base_url(self) -> tuple[str, str]:
        """The URL without a slash at its end, and its host as `KROS_RECORDING_HOSTS` would name it."""
        text = (self.texts["KROSAI_BASE_URL"] or DEFAULT_BASE_URL).rstrip("/")
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in ("https", "http") or not host or not _HOST(parts.netloc) or "?" in text or "#" in text:
            self.problems.append(f"KROSAI_BASE_URL must look like {DEFAULT_BASE_URL}, without user, query or fragment.")
        elif parts.scheme == "http" and not is_loopback(host):
            self.problems.append("KROSAI_BASE_URL must be https: the key would cross the network in the clear.")
        return text, f"[{host}]" if host and ":" in host else host or ""

    def archive_url(self) -> tuple[str, str]:
        """Bucket and prefix; the prefix without slashes at its ends, or empty."""
        name, text = "KROS_ARCHIVE_URL", self.texts["KROS_ARCHIVE_URL"]
        if not text:
            self.problems.append(f"{name} is missing: where the archive lies, like s3://bucket/prefix.")
            return "", ""
        scheme, _, rest = text.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        if scheme != "s3" or not _BUCKET(bucket):
            self.problems.append(f"{name} must name a bucket, like s3://bucket/prefix, and nothing else.")
        elif prefix and (not _PREFIX(prefix) or {".", ".."} & set(prefix.split("/")) or len(prefix) > 512):
            self.problems.append(f"{name} has a prefix with characters that S3 keys should not have: {_shown(prefix)}.")
        return bucket, prefix

    def hosts(self, name: str, default: frozenset[str]) -> frozenset[str]:
        text = self.texts[name]
        if text is None:
            return default
        hosts = [host for host in re.split(r"[,\s]+", text.lower()) if host]
        if not hosts:
            self.problems.append(f"{name} is {text!r}, which names no host.")
        for host in hosts:
            if not _HOST(host):
                self.problems.append(f"{name} holds {_shown(host)}; write host or host:port, with commas between them.")
        return frozenset(hosts)


def _shown(text: str) -> str:
    """A bad value, as its sentence shows it: a long one may be a secret in the wrong place, unless it is a number."""
    return repr(text) if len(text) <= _MOST_SHOWN or text.isdecimal() else f"{text[:4]!r}… (not shown whole)"


def is_webhook(url: str) -> bool:
    """Whether a URL may be told of failures: https, or plain http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def is_loopback(host: str) -> bool:
    """Whether the name or literal address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
