"""What ended runs show: which days, standing checks and jobs are red, and which are not any more.

Dagster's event log is read from where the last look ended. A run that Dagster will retry shows nothing: its retry does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from .archive_checks import THE_ARCHIVE, WRONG_OBJECTS
from .core.days import is_over, parse_day
from .core.notification_state import Level, Observation, Problem, Resolution, day_subject
from .core.notification_text import shorten_reason
from .failures import WhatToDo

_MAX_RUNS = 200  # of each status, in one look; the next one goes on
_FIRST_LOOK = timedelta(hours=1)
_TAGGED_WITHIN = timedelta(minutes=1)  # Dagster writes whether it retries a run just after the run's failure
_PARTITION, _WILL_RETRY = "dagster/partition", "dagster/will_retry"
_COUNTS = (WRONG_OBJECTS, "recordings", "days")  # metadata that say how much is wrong: the first that a check has
_TRIED_AGAIN = (WhatToDo.RETRY_NOW.value, WhatToDo.RETRY_LATER.value)


@dataclass
class RunOutcomes:
    """What was seen, by subject, and the number of the last event that was read."""

    observations: dict[str, Observation] = field(default_factory=dict)
    last_event: int | None = None
    looked_at_archive: bool = False


def read_run_outcomes(instance: dg.DagsterInstance, after: int | None, now: datetime) -> RunOutcomes:
    """Read the runs that ended since the event `after`; without one, those of the last hour.

    Of several runs of one subject the last one counts.
    """
    found = RunOutcomes(last_event=after)
    horizon: float = float("inf")
    ended = []
    for kind in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE):
        page = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(
                kind,
                after_storage_id=after,
                after_timestamp=None if after is not None else (now - _FIRST_LOOK).timestamp(),
            ),
            limit=_MAX_RUNS,
            ascending=True,
        )
        if page.has_more and page.records:
            horizon = min(horizon, page.records[-1].storage_id)
        ended += [(record.storage_id, record.run_id, kind, record.timestamp) for record in page.records]
    for number, run_id, kind, timestamp in sorted(ended):
        if number > horizon:
            break
        run, at = instance.get_run_by_id(run_id), datetime.fromtimestamp(timestamp, UTC)
        is_failure = kind == dg.DagsterEventType.RUN_FAILURE
        if run is not None:
            if is_failure and _may_still_be_tagged(instance, run) and now - at < _TAGGED_WITHIN:
                break
            if not (is_failure and run.tags.get(_WILL_RETRY) == "true"):
                found.looked_at_archive = found.looked_at_archive or _PARTITION not in run.tags
                found.observations |= _observe_run(instance, run, at, is_failure=is_failure)
        found.last_event = number
    return found


def _may_still_be_tagged(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    return instance.run_retries_enabled and _WILL_RETRY not in run.tags


def _observe_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, at: datetime, *, is_failure: bool
) -> dict[str, Observation]:
    """Return what one run shows of its day, or of the standing checks and its job."""
    partition = run.tags.get(_PARTITION)
    if partition is not None:
        return _observe_day(instance, run, partition, at, is_failure=is_failure)
    checks = _observe_checks(instance, run, at)
    is_explained = any(isinstance(seen, Problem) for seen in checks.values())
    name = run.job_name
    if name.startswith("__"):  # launched as assets, not as a job
        name = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or "assets"
    if is_failure and not is_explained:
        return checks | {f"job {name}": _describe_failure(instance, run, at)}
    return checks | {f"job {name}": Resolution(f"{name} succeeded.", at.isoformat(), run.run_id)}


def _observe_day(
    instance: dg.DagsterInstance, run: dg.DagsterRun, partition: str, at: datetime, *, is_failure: bool
) -> dict[str, Observation]:
    day = parse_day(partition)
    if day is None or not is_over(day, at):
        return {}  # the run refused it, and whoever launched it sees that
    subject = day_subject(day)
    if is_failure:
        return {subject: _describe_failure(instance, run, at)}
    return {subject: Resolution(f"{partition} was archived.", at.isoformat(), run.run_id)}


def _observe_checks(instance: dg.DagsterInstance, run: dg.DagsterRun, at: datetime) -> dict[str, Observation]:
    """Return what a run shows of each standing check that it made."""
    seen: dict[str, Observation] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        check: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if check is None or check.asset_key != THE_ARCHIVE:
            continue
        subject, reason = f"check {check.check_name}", shorten_reason(check.description or "It is red.")
        if check.passed:
            seen[subject] = Resolution(reason if check.description else "It is green.", at.isoformat(), run.run_id)
        else:
            level = Level.ERROR if check.severity == dg.AssetCheckSeverity.ERROR else Level.WARNING
            count = _read_count(check.metadata)
            seen[subject] = Problem(level, reason, at.isoformat(), run_id=run.run_id, count=count)
    return seen


def _read_count(metadata: Mapping[str, Any]) -> int:
    counts = (getattr(metadata.get(name), "value", None) for name in _COUNTS)
    return max(1, next((count for count in counts if isinstance(count, int)), 1))


def _describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun, at: datetime) -> Problem:
    """Return the first failure of a run with its reason and what to do."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=kinds)]
    failures = [event.step_failure_data.user_failure_data for event in events if event and event.is_step_failure]
    reason, what_to_do = _describe_first(failures)
    if not reason:
        said = next((event.message for event in events if event and not event.is_step_failure and event.message), "")
        reason = shorten_reason(said or "The run failed.")
        what_to_do = "Open the run: Dagster shows why. The schedule tries a day again by itself."
    level = Level.WARNING if what_to_do in _TRIED_AGAIN else Level.ERROR  # a schedule tries it, and nobody has to act
    return Problem(level, reason, at.isoformat(), what_to_do, run.run_id)


def _describe_first(failures: Sequence[Any]) -> tuple[str, str]:
    for failure in failures:
        if failure is not None and failure.description:
            shown = failure.metadata.get("what_to_do")
            what_to_do = shorten_reason(str(shown.value)) if shown is not None else ""
            error = failure.metadata.get("error")
            return shorten_reason(str(error.value) if error is not None else failure.description), what_to_do
    return "", ""
