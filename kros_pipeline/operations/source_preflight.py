"""The preflight of the source: one request to the API, what its answer shows, and the way to the recording hosts."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from ..core.clock import Clock
from ..core.days import end_of, start_of
from ..core.errors import WrongArchive
from ..source.answer_headers import AnswerHeaders
from ..source.call_source import Page, Window
from ..source.krosai import KrosAI
from ..source.recording_hosts import find_origin, reach_recording_host
from ..steps.list_reader import describe_dialect
from ..steps.listed_rows import describe_foreign_rows
from ..steps.settings import Settings
from .clock_check import compare_clocks
from .first_page import ask_first_page
from .preflight_result import Outcome, PreflightResult, Skipped, run_check


def check_source(settings: Settings, clock: Clock) -> Iterator[PreflightResult]:
    """Yield the checks of the API and of the hosts that audio comes from."""
    source = KrosAI(settings.source, clock)
    try:
        found = run_check("API", lambda: _ask_api(source, clock))
        now, headers = clock.now(), source.last_headers
    finally:
        source.close()
    yield found
    if headers is None:
        for name in ("API key", "quota", "clock and API"):
            yield PreflightResult(name, Outcome.SKIPPED, "the API did not answer: mend that first.")
    else:
        yield run_check("API key", lambda: _describe_key(settings, is_accepted=found.passed))
        yield run_check("quota", lambda: _describe_quota(settings, headers))
        yield run_check("clock and API", lambda: compare_clocks("the API", headers.date, now))
    for host in sorted(settings.source.recording_hosts):
        yield run_check(f"recording host {host}", partial(_reach, host, settings, clock))


def _ask_api(source: KrosAI, clock: Clock) -> str:
    """Ask for one page of yesterday's calls. Raises `WrongArchive` where it has another organization's."""
    yesterday = clock.now().date() - timedelta(days=1)
    window = Window(start_of(yesterday), end_of(yesterday))
    page, has_date_filter = ask_first_page(source, yesterday, window)
    if page.foreign_ids:
        raise WrongArchive(describe_foreign_rows(len(page.foreign_ids)))
    dialect = describe_dialect(source, has_date_filter=has_date_filter)
    when = f"yesterday ({yesterday}, UTC)" if has_date_filter else "its list"
    sentence = f"it accepts the key (dialect: {dialect}); {when} has {_count_calls(page)}."
    if not all(listed.has_zone for listed in page.calls):
        sentence += " Their times name no zone and are read as UTC; if that is wrong, set KROSAI_TIMEZONE."
    return sentence


def _count_calls(page: Page) -> str:
    if page.total is None:
        return f"{page.row_count:,} completed calls on its first page, which names no total"
    return f"{page.total:,} completed calls"


def _describe_key(settings: Settings, *, is_accepted: bool) -> str:
    """Say what is known of the key. KrosAI documents no answer that shows a key's scopes or its end."""
    if not is_accepted:
        raise Skipped("the API did not accept the request: mend that first.")
    needs = "to list calls, and to read recordings and transcripts"
    if settings.rules_path is not None:
        needs += "; to extend recordings, for KROS_FLAG_RULES"
    raise Skipped(
        "it may list calls. No answer of the API shows its other scopes or when it expires: look at the key in the "
        f"KrosAI dashboard. The pipeline needs it {needs}."
    )


def _describe_quota(settings: Settings, headers: AnswerHeaders) -> str:
    source = settings.source
    a_day = f"{source.plan.requests_per_day:,}" if source.plan.requests_per_day else "any number of"
    plan = f"KROSAI_PLAN is {source.plan.name}: {a_day} requests a day"
    if headers.remaining is None:
        raise Skipped(f"the answer has no X-RateLimit headers; {plan}.")
    of_limit = f" of {headers.limit:,}" if headers.limit is not None else ""
    until = f" until {headers.reset_at:%Y-%m-%d %H:%M:%S} UTC" if headers.reset_at is not None else ""
    return f"the answer's X-RateLimit headers show {headers.remaining:,}{of_limit} requests left{until}; {plan}."


def _reach(host: str, settings: Settings, clock: Clock) -> str:
    """Connect to a host as a download does, without any recording's URL."""
    origin = find_origin(host, settings.source)
    if origin is None:
        raise Skipped("it is this machine, and its port is in the recordings' URLs only.")
    status = reach_recording_host(origin, settings.source, clock)
    return f"it can be reached (status {status} to a request for no recording)."
