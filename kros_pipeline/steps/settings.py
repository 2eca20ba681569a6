"""All settings of a run: the whole list, in the README's order, and the one place that reads their texts.

The definitions import this module on every load, so it imports none of the libraries that the steps need.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..archive.settings import (
    ARCHIVE_URL,
    ERASURE_KEY,
    KMS_KEY_ID,
    SEAL_KEY,
    SEAL_RETAIN_DAYS,
    SSE,
    TIMESTAMP_URL,
    ArchiveSettings,
    parse_archive_settings,
)
from ..core.browse_settings import BROWSE_SETTINGS
from ..core.notification_settings import NOTIFICATION_SETTINGS, NotificationSettings, read_notification_settings
from ..core.settings import (
    DOWNLOAD_WORKERS,
    BadSettings,
    BadValue,
    Setting,
    SettingsReader,
    choice,
    show_value,
    whole_number,
)
from ..core.speaker_roles import USUAL_ROLES, SpeakerRoles, fold_label
from ..source.settings import DEFAULT_COUNTRY, PARALLEL_DAYS, SOURCE_SETTINGS, SourceSettings, parse_source_settings
from .metrics_settings import METRICS_ADDRESS

if TYPE_CHECKING:
    from ..core.flags import Rules

_MAX_LABEL_CHARS = 64
GRAMMAR_VERSION = "2"  # of the splitting of texts into turns: a new one makes old days of `utterances` stale
FOLDING_VERSION = "2"  # of the comparison of speech with patterns: the same of `flagged_calls`


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadValue(f"is {show_value(text)}, not a date like 2025-01-01.") from None


def _parse_labels(text: str) -> tuple[str, ...]:
    """Parse labels with commas between them. The brackets and the colon of a label may be there or not."""
    labels = [label.strip().removesuffix(":").strip().strip("[]").strip() for label in text.split(",")]
    for label in labels:
        if not (any(map(str.isalpha, label)) and label.isprintable()) or len(label) > _MAX_LABEL_CHARS:
            raise BadValue(
                f"has the label {show_value(label)}; a label has letters, and at most {_MAX_LABEL_CHARS} signs."
            )
    return tuple(labels)


START_DATE = Setting(
    "KROS_START_DATE",
    None,
    "the first partition",
    _parse_date,
    default_in_words="the first day that upstream still had, by its retention, when Dagster first started",
)
LOOKBACK_DAYS = Setting(
    "KROS_LOOKBACK_DAYS", "3", "for how many days late recordings and transcripts are waited for", whole_number(0)
)
TRANSCRIPT_DETAILS = Setting(
    "KROS_TRANSCRIPT_DETAILS",
    "missing",
    "or `always`: one request a call, for language and confidence",
    choice("missing", "always"),
)
AGENT_LABELS = Setting(
    "KROS_AGENT_LABELS",
    None,
    "further labels of the agent in transcripts, with commas between them",
    _parse_labels,
    default_in_words="the usual names",
)
CALLER_LABELS = Setting(
    "KROS_CALLER_LABELS",
    None,
    "further labels of the caller in transcripts, with commas between them",
    _parse_labels,
    default_in_words="the usual names",
)
FLAG_RULES = Setting("KROS_FLAG_RULES", None, "the YAML file of rules", str)
LEGAL_HOLD = Setting(
    "KROS_LEGAL_HOLD",
    "off",
    "or `on`: S3 legal hold on the audio of flagged calls; the bucket needs Object Lock",
    choice("off", "on"),
)
CALL_EVENTS = Setting(
    "KROS_CALL_EVENTS",
    "off",
    "or `on`: the table `call_events`, one request a call",
    choice("off", "on"),
)

SETTINGS: tuple[Setting[Any], ...] = (
    *SOURCE_SETTINGS,
    ARCHIVE_URL,
    SSE,
    KMS_KEY_ID,
    START_DATE,
    LOOKBACK_DAYS,
    TRANSCRIPT_DETAILS,
    AGENT_LABELS,
    CALLER_LABELS,
    FLAG_RULES,
    CALL_EVENTS,
    DOWNLOAD_WORKERS,
    LEGAL_HOLD,
    ERASURE_KEY,
    SEAL_KEY,
    TIMESTAMP_URL,
    SEAL_RETAIN_DAYS,
    *NOTIFICATION_SETTINGS,
    *BROWSE_SETTINGS,
    PARALLEL_DAYS,
    METRICS_ADDRESS,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run. `KROS_START_DATE` is not among them: only the definitions need it."""

    source: SourceSettings
    archive: ArchiveSettings
    lookback_days: int
    ask_every_transcript: bool
    download_workers: int
    legal_hold: bool
    rules_path: str | None
    notifications: NotificationSettings
    speaker_roles: SpeakerRoles = USUAL_ROLES


def parse_settings(texts: Mapping[str, str | None]) -> Settings:
    """Parse the texts of the settings, by name. Raises `BadSettings` with every problem.

    A text that is named like a setting and belongs to none is a problem; other names are ignored.
    """
    reader = SettingsReader(texts)
    settings = _read(reader)
    if reader.problems:
        raise BadSettings(reader.problems)
    return settings


def parse_settings_and_rules(texts: Mapping[str, str | None]) -> tuple[Settings, "Rules"]:
    """Parse the settings and the rules file that they name.

    Raises `BadSettings` with every problem, the mistakes in the rules file among them.
    """
    reader = SettingsReader(texts)
    settings = _read(reader)
    rules = _read_rules(reader, settings)
    if reader.problems:
        raise BadSettings(reader.problems)
    return settings, rules


def parse_start_date(text: str | None) -> date | None:
    """Parse `KROS_START_DATE`, the first partition; None where it is not given. Raises `BadSettings`."""
    reader = SettingsReader({START_DATE.name: text})
    start_date = reader.optional(START_DATE, None)
    if reader.problems:
        raise BadSettings(reader.problems)
    return start_date


def parse_parallel_days(texts: Mapping[str, str | None]) -> int:
    """Parse `KROS_PARALLEL_DAYS` only: Dagster's instance is made before there is a run. Raises `BadSettings`."""
    reader = SettingsReader({PARALLEL_DAYS.name: texts.get(PARALLEL_DAYS.name)})
    parallel_days = reader.value(PARALLEL_DAYS)
    if reader.problems:
        raise BadSettings(reader.problems)
    return parallel_days


def _read(reader: SettingsReader) -> Settings:
    problem_count = len(reader.problems)
    agent_labels: tuple[str, ...] = reader.optional(AGENT_LABELS, ())
    caller_labels: tuple[str, ...] = reader.optional(CALLER_LABELS, ())
    for label in sorted(set(map(fold_label, agent_labels)) & set(map(fold_label, caller_labels))):
        reader.add_problem(
            f"{CALLER_LABELS.name} has the label {show_value(label)}, which {AGENT_LABELS.name} has, too."
        )
    reader.value(METRICS_ADDRESS)  # another process uses it; a bad one is reported with the others
    settings = Settings(
        source=parse_source_settings(reader),
        archive=parse_archive_settings(reader),
        lookback_days=reader.value(LOOKBACK_DAYS),
        ask_every_transcript=reader.value(TRANSCRIPT_DETAILS) == "always",
        download_workers=reader.value(DOWNLOAD_WORKERS),
        legal_hold=reader.value(LEGAL_HOLD) == "on",
        rules_path=reader.optional(FLAG_RULES, None),
        notifications=read_notification_settings(reader),
        speaker_roles=USUAL_ROLES.with_labels(agent_labels, caller_labels),
    )
    retention_days = settings.source.retention_days
    are_good = len(reader.problems) == problem_count
    if are_good and retention_days is not None and settings.lookback_days >= retention_days:
        reader.add_problem(
            f"{LOOKBACK_DAYS.name} is {settings.lookback_days}, and must be below upstream's retention of "
            f"{retention_days} days: what is waited for longer is deleted by then."
        )
    reader.value(CALL_EVENTS)  # the definitions read it; a bad text fails the run here
    reader.refuse_unknown_names(SETTINGS)
    return settings


def wants_call_events(texts: Mapping[str, str | None]) -> bool:
    """Return whether the table `call_events` is wanted. A text that is neither on nor off is reported by the run."""
    return bool(SettingsReader({CALL_EVENTS.name: texts.get(CALL_EVENTS.name)}).value(CALL_EVENTS) == "on")


def read_code_versions(texts: Mapping[str, str | None]) -> dict[str, str]:
    """Return by which grammar and which rules the tables are made that nobody but the settings and we decide.

    A rules file that cannot be read has a version of its own: the run says why.
    """
    labels = "|".join((texts.get(setting.name) or "").strip() for setting in (AGENT_LABELS, CALLER_LABELS))
    path = (texts.get(FLAG_RULES.name) or "").strip()
    country = (texts.get(DEFAULT_COUNTRY.name) or "").strip().upper()  # numbers of rules are read with it
    try:
        rules = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] if path else "none"
    except OSError:
        rules = "unreadable"
    return {
        "utterances": hashlib.sha256(f"{GRAMMAR_VERSION}|{labels}".encode()).hexdigest()[:12],
        "flagged_calls": f"{rules}-{FOLDING_VERSION}{country}",
    }


def read_rules_file(path: str, settings: Settings, *, named_by: str = FLAG_RULES.name) -> "Rules":
    """Read a rules file under the present settings. Raises `BadSettings` with every mistake in it.

    `named_by` is the setting, or the field of a job's config, that names the file.
    """
    from ..core.flags import BadRules, parse_rules  # not at the top: it loads the patterns' engine

    try:
        return parse_rules(
            Path(path).read_text("utf-8"),
            confidence_is_known=settings.ask_every_transcript,
            country=settings.source.default_country,
        )
    except BadRules as error:
        raise BadSettings([f"{named_by} ({path}): {error}."]) from None
    except (OSError, UnicodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadSettings([f"{named_by} ({path}) cannot be read: {what}."]) from None


def _read_rules(reader: SettingsReader, settings: Settings) -> "Rules":
    """Read the rules file. Its mistakes are collected in the reader."""
    from ..core.flags import Rules  # not at the top: it loads the patterns' engine, and the definitions do not

    if settings.rules_path is None:
        return Rules()
    try:
        return read_rules_file(settings.rules_path, settings)
    except BadSettings as error:
        reader.problems += error.problems
    return Rules()
