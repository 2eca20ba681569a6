"""The settings of the source: KrosAI's API, the account's plan, and the hosts that audio may come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from ..core.phone_numbers import COUNTRIES
from ..core.settings import (
    DOWNLOAD_WORKERS,
    BadSettings,
    BadValue,
    Setting,
    SettingsReader,
    choice,
    header_text,
    is_loopback,
    positive_number,
    show_value,
    whole_number,
)
from .plans import PLANS, Plan
from .url_policy import is_plain_host

DEFAULT_BASE_URL = "https://api.krosai.com/v1"
DEFAULT_RECORDING_HOST = "storage.krosai.com"
_BRIDGE_PATH = "/api/v1"  # where KrosAI's newer deployment, the Bridge, answers
_BRIDGE_REQUESTS_PER_SECOND = 10  # 600 a minute for each IP address, whatever the plan

# Used where a plan sets no maximum. A century, so that every day counted from it is a valid date.
_MAX_RETENTION_DAYS = 36_500


def _parse_base_url(text: str) -> str:
    """Parse the API's URL, and return it without a slash at its end."""
    url = text.rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # `port` raises where it is no port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("https", "http") or not host or not is_plain_host(parts.netloc) or "?" in url or "#" in url:
        raise BadValue(f"must look like {DEFAULT_BASE_URL}, without user, query or fragment.")
    if parts.scheme == "http" and not is_loopback(host):
        raise BadValue("must be https: the key would cross the network in the clear.")
    return url


def _parse_hosts(text: str) -> frozenset[str]:
    """Parse hosts, each with a port or without, that commas or white space separate."""
    hosts = [host for host in re.split(r"[,\s]+", text.lower()) if host]
    if not hosts:
        raise BadValue(f"is {text!r}, which names no host.")
    bad_hosts = [show_value(host) for host in hosts if not is_plain_host(host)]
    if bad_hosts:
        raise BadValue(f"holds {', '.join(bad_hosts)}; write host or host:port, with commas between them.")
    return frozenset(hosts)


def _parse_timezone(text: str) -> ZoneInfo:
    """Parse the IANA name of a time zone."""
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # no such zone; no name at all; a folder of zones
        name_by_lower_case = {name.lower(): name for name in available_timezones()}
        nearest = get_close_matches(text.lower(), name_by_lower_case, n=1, cutoff=0.8)
        hint = f": did you mean {name_by_lower_case[nearest[0]]}?" if nearest else " such as Africa/Lagos."
        raise BadValue(f"is {show_value(text)}; it must be the IANA name of a time zone{hint}") from None


def _parse_country(text: str) -> str:
    """Parse the two letters of a country, and return them in upper case."""
    if text.upper() not in COUNTRIES:
        raise BadValue(f"is {show_value(text)}; it must be the two letters (ISO 3166) of a country, such as NG.")
    return text.upper()


API_KEY = Setting(
    "KROSAI_API_KEY",
    None,
    "sent to the API's host only",
    header_text,
    missing="set it to the key that the KrosAI dashboard shows",
    is_secret=True,
)
AUTH = Setting(
    "KROSAI_AUTH",
    "x-api-key",
    "how the key is sent: `x-api-key` or `bearer`; the Bridge accepts `bearer` only, which is its default",
    choice("x-api-key", "bearer"),
)
BASE_URL = Setting(
    "KROSAI_BASE_URL",
    DEFAULT_BASE_URL,
    "a URL that ends in `/api/v1` is the Bridge, KrosAI's newer API; plain `http` only where the API is on this "
    "machine",
    _parse_base_url,
)
ORGANIZATION_ID = Setting(
    "KROSAI_ORGANIZATION_ID",
    None,
    "sent as `x-organization-id`, and to the Bridge, which requires it, in every query; rows of another organization "
    "are refused; stored in every call's row",
    header_text,
)
TIMEZONE = Setting(
    "KROSAI_TIMEZONE",
    None,
    "the IANA name, such as `Africa/Lagos`, of the time zone in which the API's times without a zone are meant; "
    "without it they are UTC",
    _parse_timezone,
)
PLAN = Setting(
    "KROSAI_PLAN",
    "pro",
    "`free`, `pro`, `business`, `enterprise`: rate, quota and retention upstream",
    lambda text: PLANS[choice(*PLANS)(text)],
)
RETENTION_DAYS = Setting(
    "KROSAI_RETENTION_DAYS",
    None,
    "how many days upstream keeps a recording, as your dashboard shows it",
    whole_number(1, _MAX_RETENTION_DAYS),
    default_in_words="the plan's default",
)
REQUESTS_PER_SECOND = Setting(
    "KROSAI_REQUESTS_PER_SECOND",
    None,
    "this pipeline's share of the plan's rate",
    positive_number,
    default_in_words="the plan's rate; at most 10 where the URL is the Bridge's",
)
REQUESTS_PER_RUN = Setting(
    "KROSAI_REQUESTS_PER_RUN",
    None,
    "this pipeline's share of the plan's daily quota; the next run goes on where one run reaches it",
    whole_number(1),
    default_in_words="half of the plan's day",
)
RECORDING_HOSTS = Setting(
    "KROS_RECORDING_HOSTS",
    None,
    "hosts that audio may come from, with commas between them",
    _parse_hosts,
    default_in_words=f"`{DEFAULT_RECORDING_HOST}` and the API's own host",
)
DEFAULT_COUNTRY = Setting(
    "KROS_DEFAULT_COUNTRY",
    None,
    "the country (two letters, such as `NG`) of phone numbers in national form, such as `0801…`: the tables have them "
    "in E.164 then; without it they stay as they came",
    _parse_country,
)

SOURCE_SETTINGS: tuple[Setting[Any], ...] = (
    API_KEY,
    AUTH,
    BASE_URL,
    ORGANIZATION_ID,
    TIMEZONE,
    PLAN,
    RETENTION_DAYS,
    REQUESTS_PER_SECOND,
    REQUESTS_PER_RUN,
    RECORDING_HOSTS,
    DEFAULT_COUNTRY,
)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How to reach KrosAI. `requests_per_second`, `requests_per_run` and `retention_days` are None for "no limit".

    `timezone` is the zone of the API's times that name none; None where the setting is not given: they are UTC.

    `default_country` is that of phone numbers in national form; None where it is not given: they are not read.

    `connections` is how many connections each client keeps open: one for each thread that downloads.
    """

    api_key: str = field(repr=False)
    auth: str
    base_url: str
    organization_id: str | None
    timezone: ZoneInfo | None
    plan: Plan
    retention_days: int | None
    requests_per_second: float | None
    requests_per_run: int | None
    recording_hosts: frozenset[str]
    connections: int
    default_country: str | None = None

    @property
    def is_bridge(self) -> bool:
        """Whether the base URL is the Bridge's. Answers may reveal the Bridge behind another URL, too."""
        return _is_bridge(self.base_url)


def parse_retention_days(texts: Mapping[str, str | None]) -> int | None:
    """Parse for how many days upstream keeps a recording; None: without end. Raises `BadSettings`."""
    reader = SettingsReader(texts)
    days = reader.optional(RETENTION_DAYS, reader.value(PLAN).default_retention_days)
    if reader.problems:
        raise BadSettings(reader.problems)
    return days


def parse_source_settings(reader: SettingsReader) -> SourceSettings:
    """Read the settings of the source. Problems are collected in the reader."""
    problem_count = len(reader.problems)
    plan = reader.value(PLAN)
    retention_days = RETENTION_DAYS
    if len(reader.problems) == problem_count:  # an unknown plan limits nothing: its own problem is enough
        maximum = plan.maximum_retention_days or _MAX_RETENTION_DAYS
        retention_days = replace(RETENTION_DAYS, parse=whole_number(1, maximum))
    base_url = reader.value(BASE_URL)
    is_bridge = _is_bridge(base_url)
    rate: float | None = plan.requests_per_second
    if is_bridge:
        rate = min(rate or _BRIDGE_REQUESTS_PER_SECOND, _BRIDGE_REQUESTS_PER_SECOND)
    elif rate is None and not reader.is_given(REQUESTS_PER_SECOND):
        reader.add_problem(f"{REQUESTS_PER_SECOND.name} is missing: the rate of plan {plan.name} is by contract.")
    auth = reader.optional(AUTH, "bearer") if is_bridge else reader.value(AUTH)
    if is_bridge and auth != "bearer":
        reader.add_problem(f"{AUTH.name} is {auth!r}; the Bridge ({_BRIDGE_PATH}) accepts bearer only.")
    if is_bridge and not reader.is_given(ORGANIZATION_ID):
        reader.add_problem(
            f"{ORGANIZATION_ID.name} is missing: the Bridge ({_BRIDGE_PATH}) shows calls of other organizations, too, "
            "unless each request names yours."
        )
    return SourceSettings(
        api_key=reader.required(API_KEY, ""),
        auth=auth,
        base_url=base_url,
        organization_id=reader.optional(ORGANIZATION_ID, None),
        timezone=reader.optional(TIMEZONE, None),
        plan=plan,
        retention_days=reader.optional(retention_days, plan.default_retention_days),
        requests_per_second=reader.optional(REQUESTS_PER_SECOND, rate),
        requests_per_run=reader.optional(REQUESTS_PER_RUN, plan.requests_per_day and plan.requests_per_day // 2),
        recording_hosts=reader.optional(RECORDING_HOSTS, frozenset({DEFAULT_RECORDING_HOST, _host_of(base_url)})),
        default_country=reader.optional(DEFAULT_COUNTRY, None),
        connections=reader.value(DOWNLOAD_WORKERS),
    )


def _is_bridge(base_url: str) -> bool:
    return urlsplit(base_url).path.endswith(_BRIDGE_PATH)


def _host_of(base_url: str) -> str:
    """Return the host of the API's URL as `KROS_RECORDING_HOSTS` would name it."""
    host = urlsplit(base_url).hostname or ""
    return f"[{host}]" if ":" in host else host
