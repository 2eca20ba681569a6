"""The metrics for Prometheus: the numbers of the last hourly look, and how old they are.

One request to S3 reads them, however large the archive is. A metric whose number is not known is left out, so that an
alert on it does not fire for an archive that has none.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..archive.latest_look import LatestLook, read_latest_look
from ..archive.object_store import ObjectStore
from ..core.errors import ExternalError

if TYPE_CHECKING:
    from .archive_totals import ArchiveTotals  # the process that serves the metrics needs none of its libraries

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Metric:
    """One metric. `numbers` has, by the value of `label`, the name of the number; without a label, under "".

    Names follow Prometheus: base units, and a unit at the end. All are gauges: they may fall.
    """

    name: str
    help: str
    numbers: Mapping[str, str]
    label: str = ""
    factor: float = 1.0


def _plain(name: str, help: str, number: str, factor: float = 1.0) -> Metric:
    return Metric(name, help, {"": number}, factor=factor)


METRICS = (
    Metric(
        "kros_days",
        "Days of the archive by verdict; missing: due, and never archived.",
        {verdict: f"days_{verdict}" for verdict in ("complete", "waiting", "incomplete", "missing")},
        label="verdict",
    ),
    _plain("kros_days_owed", "Days that upstream still has and that are not proved complete.", "days_owed"),
    _plain(
        "kros_deletion_seconds",
        "Time until upstream may delete recordings of the oldest owed day; absent where no day is owed.",
        "days_left_before_deletion",
        _SECONDS_PER_DAY,
    ),
    _plain("kros_calls", "Calls in the archive.", "calls"),
    _plain("kros_utterances", "Turns of speech in the archive.", "utterances"),
    _plain("kros_recordings_expected", "Recordings that the archive should have.", "recordings_expected"),
    Metric(
        "kros_recordings",
        "Recordings by status.",
        {status: f"recordings_{status}" for status in ("archived", "pending", "failed", "lost")},
        label="status",
    ),
    _plain("kros_audio_bytes", "Size of the archived audio.", "audio_bytes"),
    _plain("kros_audio_seconds", "Length of the archived audio.", "audio_seconds"),
    Metric(
        "kros_extensions_open",
        "Retention extensions that a person has to look at, of days that upstream still has.",
        {"refused": "extensions_refused", "unconfirmed": "extensions_unconfirmed"},
        label="status",
    ),
    _plain("kros_api_requests_today", "API requests sent or reserved on this UTC day.", "api_requests_today"),
    _plain(
        "kros_api_requests_quota", "API requests that the plan allows on a day; absent without a quota.",
        "api_requests_quota_per_day",
    ),
    _plain("kros_moved_recordings_today", "Recordings that were archived on this UTC day.", "moved_recordings_today"),
    _plain("kros_moved_today_bytes", "Audio that was archived on this UTC day.", "moved_bytes_today"),
    Metric(
        "kros_s3_requests_this_month",
        "Requests to S3 in this month, as S3 prices them: PUT, POST and LIST are writes, GET and HEAD reads.",
        {"write": "s3_writes_this_month", "read": "s3_reads_this_month"},
        label="kind",
    ),
    _plain(
        "kros_estimated_cost_this_month_usd", "Estimated cost of storage and requests in this month.",
        "estimated_usd_this_month",
    ),
    Metric(
        "kros_verification_days",
        "Days of the archive by their turn to be read back: verified in the last 28 days, or late.",
        {"verified": "coverage.days_verified", "late": "coverage.days_late"},
        label="status",
    ),
)  # fmt: skip

UP, AGE, CHECK = "kros_archive_readable", "kros_look_age_seconds", "kros_check_passed"
NAMES = (UP, AGE, CHECK, *(metric.name for metric in METRICS))


def make_look(totals: "ArchiveTotals", checks: Mapping[str, bool], now: datetime) -> LatestLook:
    """Make what is stored of a look: every number of the totals, by its name."""
    return LatestLook(now, dict(_numbers_in(asdict(totals))), checks)


def _numbers_in(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers_in(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield prefix + name, value


class LookCollector(Collector):
    """Reads the last look for each scrape. The archive's trouble is a metric, and no error of the scrape."""

    def __init__(self, store: ObjectStore, now: Callable[[], datetime]):
        self._store, self._now = store, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric whose number is known."""
        look: LatestLook | None = None
        try:
            look = read_latest_look(self._store)
            is_readable = True
        except ExternalError:
            is_readable = False
        yield GaugeMetricFamily(UP, "Whether the archive could be read for this scrape: 1 or 0.", float(is_readable))
        if look is None:
            return
        age_seconds = (self._now() - look.looked_at).total_seconds()
        yield GaugeMetricFamily(AGE, "Time since the hourly look that the other metrics are of.", max(0.0, age_seconds))
        checks = GaugeMetricFamily(CHECK, "Whether a standing check passed in that look: 1 or 0.", labels=["check"])
        for name, passed in sorted(look.checks.items()):
            checks.add_metric([name], float(passed))
        yield checks
        for metric in METRICS:
            yield from _family(metric, look.numbers)


def _family(metric: Metric, numbers: Mapping[str, float]) -> Iterator[GaugeMetricFamily]:
    """Yield a metric with its known numbers; nothing where none is known."""
    known = {label: numbers[number] * metric.factor for label, number in metric.numbers.items() if number in numbers}
    if not known:
        return
    family = GaugeMetricFamily(metric.name, metric.help, labels=[metric.label] if metric.label else [])
    for label, value in known.items():
        family.add_metric([label] if metric.label else [], value)
    yield family
