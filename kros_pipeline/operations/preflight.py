"""The preflight: a look at everything that a run relies on, before the first run. It writes its probe object only.

A run makes most of these checks, and ends with the first that fails. The preflight makes all of them, in seconds.
"""

from collections.abc import Callable, Iterator, Mapping

from ..archive.governance import Governance
from ..archive.object_store import ObjectStore
from ..archive.s3_governance import open_s3
from ..archive.settings import ArchiveSettings
from ..core.browse_settings import parse_browse_settings
from ..core.clock import Clock
from ..core.errors import NotificationFailed
from ..core.notification_settings import NOTIFY, WEBHOOK_URL
from ..core.settings import BadSettings, SettingsReader
from ..steps.run_context import SYSTEM_CLOCK
from ..steps.settings import FLAG_RULES, SETTINGS, START_DATE, Settings, parse_settings_and_rules, parse_start_date
from .archive_preflight import check_archive
from .preflight_result import Outcome, PreflightResult, Skipped, run_check
from .seal_preflight import check_seals
from .source_preflight import check_source

__all__ = ["Outcome", "PreflightResult", "run_preflight"]


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
    settings, rule_count, problems = _read_settings(texts)
    for problem in problems:
        yield PreflightResult("settings", Outcome.FAILED, problem)
    if settings is None or problems:
        return
    given = sum(bool((texts.get(setting.name) or "").strip()) for setting in SETTINGS)
    yield PreflightResult("settings", Outcome.OK, f"{given} of {len(SETTINGS)} are set, and each can be used.")
    yield run_check("rules", lambda: _describe_rules(settings, rule_count))
    yield run_check("notifications", lambda: _look_at_targets(settings))
    yield from check_archive(settings, clock, open_archive)
    yield from check_seals(settings.archive, clock)
    yield from check_source(settings, clock)


def _read_settings(texts: Mapping[str, str | None]) -> tuple[Settings | None, int, list[str]]:
    """Read the settings, the rules file and the first partition; return every problem with them."""
    problems: list[str] = []
    settings: Settings | None = None
    rule_count = 0
    try:
        settings, rules = parse_settings_and_rules(texts)
        rule_count = len(rules.rules)
    except BadSettings as error:
        problems += error.problems
    try:
        parse_start_date(texts.get(START_DATE.name))
    except BadSettings as error:
        problems += error.problems
    browse = SettingsReader(texts)
    parse_browse_settings(browse)  # no run reads them: a mistake in them must not stop the archive
    return settings, rule_count, problems + browse.problems


def _describe_rules(settings: Settings, rule_count: int) -> str:
    if settings.rules_path is None:
        raise Skipped(f"{FLAG_RULES.name} is not set: no call is flagged, and no recording is kept longer upstream.")
    return f"{settings.rules_path} has {rule_count} rules. The job test_rules shows what they flag."


def _look_at_targets(settings: Settings) -> str:
    """Open the targets of notifications, which sends nothing."""
    from .notifications import open_targets  # not at the top: its library takes a third of a second

    if not settings.notifications.urls:
        raise Skipped(f"neither {NOTIFY.name} nor {WEBHOOK_URL.name} is set: failures show in the Dagster UI only.")
    try:
        targets = open_targets(settings.notifications.urls)
    except NotificationFailed as error:
        raise NotificationFailed(f"{NOTIFY.name}: {error}") from None
    names = ", ".join(target.name for target in targets)
    return f"{names}: the URLs can be read. Nothing was sent: `make notify-test` sends a test message to each."
