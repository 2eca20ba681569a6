"""The jobs: the daily archive, the checks of the archive, and the jobs that only an operator launches."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
from pydantic import Field

from .assets import KROSAI_POOL
from .core.object_keys import call_key
from .failures import raise_as_dagster_failure
from .resources import Archive

if TYPE_CHECKING:
    from .operations.rule_trial import RulesTrial
    from .operations.webhook_witness import WitnessReport

AssetJob: TypeAlias = Any
"""What `dg.define_asset_job` returns. Dagster does not export the type."""

DAILY_ARCHIVE = "daily_archive"
STANDING_CHECKS = "standing_checks_job"
VERIFY_ARCHIVE = "verify_archive"
READ_WEBHOOK_DELIVERIES = "read_webhook_deliveries"
TURN_ON_RECORDING = "turn_on_recording"
TEST_RULES = "test_rules"
_MAX_RUNTIME_SECONDS = 7_200  # a run whose machine is lost holds its place in the pool until then
_MAX_PROBLEMS = 3
NEVER_REPEATED = {"dagster/max_retries": "0"}
"""Tags of a job that must not run twice for one click: Dagster would start it again where its process was lost."""

NO_RETRY = "nothing tries it again: mend the cause, and launch the job once more"


def opens_with(op: str, **config: Any) -> dict[str, Any]:
    """Return the config that the Launchpad opens with, and a launch without a config uses.

    Each job that no schedule launches has one: a click on "Launch Run" then changes nothing, as `dry_run` is on, and
    the fields stand there without the settings of the resource.
    """
    return {"ops": {op: {"config": config}}}


def daily_archive_job(assets: list[dg.AssetsDefinition]) -> AssetJob:
    """Make the job of one day: all seven assets with their own checks, without `archive` and its standing checks."""
    return dg.define_asset_job(
        DAILY_ARCHIVE,
        selection=dg.AssetSelection.assets(*assets),
        description="Archives one day, and proves that nothing of it is missing.",
        tags={"dagster/max_runtime": str(_MAX_RUNTIME_SECONDS)},
    )


def standing_checks_job(archive: dg.AssetsDefinition, verification: dg.AssetChecksDefinition) -> AssetJob:
    """Make the job that materializes `archive` with its standing checks, and without the verification of its bytes."""
    return dg.define_asset_job(
        STANDING_CHECKS,
        selection=dg.AssetSelection.assets(archive) - dg.AssetSelection.checks(verification),
        description="Looks for days that are missing and recordings that upstream is about to delete.",
    )


def verify_archive_job(verification: dg.AssetChecksDefinition) -> AssetJob:
    """Make the job that reads archived audio back."""
    return dg.define_asset_job(
        VERIFY_ARCHIVE,
        selection=dg.AssetSelection.checks(verification),
        config=opens_with("verification", days=[], everything=False),  # as its schedule launches it
        description="Reads archived recordings back and hashes them: by schedule a 28th of the days, by config any.",
    )


class TurnOnConfig(dg.Config):
    """Whether to send the request."""

    dry_run: bool = Field(default=False, description="Only say what would be sent. Set it to false to send it.")


def turn_on_recording_job(tags: Mapping[str, str] | None = None) -> dg.JobDefinition:
    """Make the job that sends one request to KrosAI, once."""

    @dg.op(name="change_settings_at_krosai")
    def change_settings(context: dg.OpExecutionContext, config: TurnOnConfig, archive: Archive) -> None:
        from .source.krosai import RECORDING_ON

        if config.dry_run:
            would_send = ", ".join(f"{name}: {str(value).lower()}" for name, value in RECORDING_ON.items())
            context.add_output_metadata(
                {
                    "dry run": f"nothing was sent: PATCH /settings with {would_send}",
                    "what to do next": "Set dry_run to false, and launch the job again: one request is sent.",
                }
            )
            return
        with raise_as_dagster_failure(NO_RETRY):
            accepted = archive.open(context).source.turn_on_recording()
        context.add_output_metadata(dict(accepted))

    @dg.job(
        name=TURN_ON_RECORDING,
        tags={**NEVER_REPEATED, **(tags or {})},
        config=opens_with("change_settings_at_krosai", dry_run=True),
        description="Has KrosAI record and transcribe the organization's calls from now on (PATCH /settings, once).",
    )
    def turn_on() -> None:
        change_settings()

    return turn_on


def read_webhook_deliveries_job(first_day: date) -> dg.JobDefinition:
    """Make the job that compares the calls that webhook deliveries name with the tables, from `first_day` on."""

    @dg.op(name="compare_webhook_deliveries", pool=KROSAI_POOL)
    def compare(context: dg.OpExecutionContext, archive: Archive) -> None:
        from .operations.webhook_witness import witness_calls

        with raise_as_dagster_failure("the next night's run reads the deliveries again"):
            ctx = archive.open(context)
            ctx.prepare_archive()
            report = witness_calls(
                first_day,
                source=ctx.source,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                identity=ctx.identity,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                requests_per_day=ctx.settings.source.plan.requests_per_day,
            )
        if report.problem:
            context.log.warning(report.problem)
        context.add_output_metadata(_witness_metadata(report))

    @dg.job(
        name=READ_WEBHOOK_DELIVERIES,
        description="Reads what KrosAI sent to webhooks: a day whose completed calls are in no table is tried again.",
    )
    def read_deliveries() -> None:
        compare()

    return read_deliveries


def _witness_metadata(report: "WitnessReport") -> dict[str, Any]:
    """Return counts, days and sentences; nothing that names a call."""
    webhook = "offered" if report.deliveries or not report.ended_early else "not known: no page was read"
    if report.not_offered:
        webhook = f"not offered: {report.not_offered}"
    metadata: dict[str, Any] = {
        "webhook deliveries": webhook,
        "deliveries read": report.deliveries,
        "deliveries that cannot be read": report.unreadable.total(),
        "calls named": report.calls,
        "calls in no table": report.calls_in_no_table,
        "calls of days that were not listed yet": report.calls_of_new_days,
        "days owed": ", ".join(map(str, report.days_owed)) or "none",
        "API requests": report.requests,
    }
    if report.unreadable:
        problems = report.unreadable.most_common(_MAX_PROBLEMS)
        metadata["what cannot be read"] = "; ".join(f"{count} × {problem}" for problem, count in problems)
    if report.ended_early:
        metadata["ended early"] = report.ended_early
    if not report.is_newest_first:
        metadata["order"] = "not the newest first: each pull reads the whole list, as far as its budget goes"
    if report.problem:
        metadata["problem"] = report.problem
    return metadata


class RulesTrialConfig(dg.Config):
    """Which rules to try, and on which days."""

    days: list[str] = Field(description="Archived days, such as 2025-01-10, or ranges: 2025-01-01..2025-01-31.")
    rules_file: str = Field(default="", description="The YAML file of rules; KROS_FLAG_RULES, if it is left out.")


def test_rules_job() -> dg.JobDefinition:
    """Make the job that shows what rules would flag. It writes nothing, and sends nothing to KrosAI."""

    @dg.op(name="try_rules")
    def try_on_days(context: dg.OpExecutionContext, config: RulesTrialConfig, archive: Archive) -> None:
        from .operations.rule_trial import read_days, try_rules
        from .steps.settings import read_rules_file

        with raise_as_dagster_failure(NO_RETRY):
            ctx = archive.open(context)
            rules = ctx.rules
            if config.rules_file:
                rules = read_rules_file(config.rules_file, ctx.settings, named_by="rules_file")
            trial = try_rules(read_days(config.days), rules, tables=ctx.tables)
        for rule_id in trial.silent:
            context.log.warning(f"rule {rule_id} flagged nothing")
        context.add_output_metadata(_trial_metadata(trial))

    @dg.job(
        name=TEST_RULES,
        config=opens_with("try_rules", days=[], rules_file=""),
        description="Shows what a rules file flags on archived days. Writes nothing, and sends nothing to KrosAI.",
    )
    def test_rules() -> None:
        try_on_days()

    return test_rules


def _trial_metadata(trial: "RulesTrial") -> dict[str, Any]:
    """Return how many calls each rule flags, with ids of a few, and the rules that flag nothing."""
    columns = ("rule", "flagged calls", "days", "new", "no more", "sample")
    records = [
        dg.TableRecord(
            {
                "rule": rule_id,
                "flagged calls": found.calls,
                "days": found.days,
                "new": found.new,
                "no more": found.gone,
                "sample": ", ".join(f"{call_key(call_id)} ({day})" for call_id, day in found.sample),
            }
        )
        for rule_id, found in trial.rules.items()
    ]
    metadata: dict[str, Any] = {
        "rules version": trial.version,
        "days": trial.days,
        "calls": trial.calls,
        "flagged calls": trial.flagged_calls,
        "flagged nothing": ", ".join(trial.silent) or "none",
        "by rule": dg.TableMetadataValue(records, dg.TableSchema(columns=[dg.TableColumn(name) for name in columns])),
    }
    if trial.missing:
        more = len(trial.missing) - _MAX_PROBLEMS
        metadata["days without tables"] = "; ".join(trial.missing[:_MAX_PROBLEMS]) + (
            f"; {more} more" if more > 0 else ""
        )
    return metadata
