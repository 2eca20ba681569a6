"""The preflight: one short look at the settings, the archive and the API before the first run. It writes nothing.

A run makes the same checks, and ends with the first that fails. The preflight makes all of them, in seconds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from ..archive.governance import Governance
from ..archive.identity import FORMAT
from ..archive.object_store import ObjectStore
from ..archive.s3_governance import open_s3
from ..archive.settings import ArchiveSettings
from ..archive.tombstones import Tombstones
from ..core.clock import Clock
from ..core.days import end_of, start_of
from ..core.errors import ExternalError, RequestRefused, WrongArchive
from ..core.settings import BadSettings
from ..source.call_source import CallSource, Page, Window
from ..source.krosai import KrosAI
from ..steps.list_proof import ignores_dates
from ..steps.list_reader import describe_dialect
from ..steps.listed_rows import ListedRows, describe_foreign_rows
from ..steps.run_context import SYSTEM_CLOCK, open_identity
from ..steps.settings import SETTINGS, START_DATE, Settings, parse_settings_and_rules, parse_start_date


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """What one check found. `sentence` shows no secret."""

    check: str
    passed: bool
    sentence: str

    def __str__(self) -> str:
        return f"{'ok' if self.passed else 'FAILED':<6}  {self.check}: {self.sentence}"


def run_preflight(
    texts: Mapping[str, str | None],
    *,
    clock: Clock = SYSTEM_CLOCK,
    open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]] = open_s3,
) -> Iterator[PreflightResult]:
    """Yield the result of each check as soon as it is known.

    `texts` are the settings by name, as the environment has them. A bad or missing setting is a result of its own; then
    nothing else can be checked. The API is asked even where the archive cannot be read.
    """
    settings, problems = _read_settings(texts)
    for problem in problems:
        yield PreflightResult("settings", False, problem)
    if settings is None or problems:
        return
    given = sum(bool((texts.get(setting.name) or "").strip()) for setting in SETTINGS)
    yield PreflightResult("settings", True, f"{given} of {len(SETTINGS)} are set, and each can be used.")
    yield _try("archive", lambda: _look_into_archive(settings, clock, open_archive))
    yield _try("API", lambda: _ask_api(settings, clock))


def _read_settings(texts: Mapping[str, str | None]) -> tuple[Settings | None, list[str]]:
    """Read the settings, the rules file and the first partition; return every problem with them."""
    problems: list[str] = []
    settings: Settings | None = None
    try:
        settings, _ = parse_settings_and_rules(texts)
    except BadSettings as error:
        problems += error.problems
    try:
        parse_start_date(texts.get(START_DATE.name))
    except BadSettings as error:
        problems += error.problems
    return settings, problems


def _try(check: str, look: Callable[[], str]) -> PreflightResult:
    try:
        return PreflightResult(check, True, look())
    except ExternalError as error:
        return PreflightResult(check, False, str(error))
    except Exception as error:  # its message is not ours, and may show a secret
        kind = type(error).__name__
        return PreflightResult(check, False, f"it ended with {kind}, which no check expects. Report this as a bug.")


def _look_into_archive(
    settings: Settings, clock: Clock, open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]]
) -> str:
    """Read what a run reads first: whose the archive is, its format, and whether the erasure key is its own."""
    store, _ = open_archive(settings.archive)
    identity = open_identity(store, settings)
    has_identity = identity.check()
    Tombstones(store, settings.archive.erasure_key, clock).check_key()
    where = f"s3://{settings.archive.bucket}/{settings.archive.prefix}".rstrip("/")
    if not has_identity:
        whose = "it is nobody's yet, and becomes this account's with the first run"
    elif identity.is_confirmed:
        whose = "it is this account's"
    else:
        whose = "it does not know this API key yet: the first run compares the key's calls with the archive's"
    sentence = f"{where} can be read; {whose}."
    if not identity.is_migrated:
        sentence += f" The first run migrates it to format {FORMAT}: end all runs of version 0.1.0 before."
    return sentence


def _ask_api(settings: Settings, clock: Clock) -> str:
    """Ask for one page of yesterday's calls. Raises `WrongArchive` where it has another organization's."""
    yesterday = clock.now().date() - timedelta(days=1)
    window = Window(start_of(yesterday), end_of(yesterday))
    source = KrosAI(settings.source, clock)
    try:
        page, has_date_filter = _ask_for_calls(source, yesterday, window)
    finally:
        source.close()
    if page.foreign_ids:
        raise WrongArchive(describe_foreign_rows(len(page.foreign_ids)))
    dialect = describe_dialect(source, has_date_filter=has_date_filter)
    when = f"yesterday ({yesterday}, UTC)" if has_date_filter else "its list"
    sentence = f"it accepts the key (dialect: {dialect}); {when} has {_count_calls(page)}."
    if not all(listed.has_zone for listed in page.calls):
        sentence += " Their times name no zone and are read as UTC; if that is wrong, set KROSAI_TIMEZONE."
    return sentence


def _ask_for_calls(source: CallSource, day: date, window: Window) -> tuple[Page, bool]:
    """Return the first page of a window, and whether the list has a date filter; it may ignore or refuse dates."""
    try:
        page = source.list_page(window, 0, 1)
    except RequestRefused as error:
        try:
            return source.list_page(None, 0, 1), False
        except RequestRefused:
            raise error from None
    rows = ListedRows(day)
    rows.add(page, window)
    return page, not (rows.has_rows_outside and ignores_dates(source, page))


def _count_calls(page: Page) -> str:
    if page.total is None:
        return f"{page.row_count:,} completed calls on its first page, which names no total"
    return f"{page.total:,} completed calls"
