"""Try a rules file on archived days: what it would flag. Nothing is written, and upstream is not asked."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.errors import ArchiveError, MissingTable
from ..core.flags import Rules
from ..steps.flagged_calls import flag_rows

_SAMPLE_SIZE = 5
_MAX_DAYS = 3_660


class BadDays(ArchiveError):
    """An operator wrote days that cannot be read."""


@dataclass
class RuleTrial:
    """What one rule flags: calls over all days, a few of their ids, and how that differs from the archive's flags."""

    calls: int = 0
    days: int = 0
    sample: list[tuple[str, date]] = field(default_factory=list)
    new: int = 0
    gone: int = 0


@dataclass
class RulesTrial:
    """What a rules file flags, by rule in the file's order; days without tables are named, and not tried."""

    rules: dict[str, RuleTrial]
    version: str
    days: int = 0
    calls: int = 0
    flagged_calls: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def silent(self) -> list[str]:
        """The rules that flagged nothing."""
        return [rule_id for rule_id, trial in self.rules.items() if not trial.calls]


def read_days(texts: Iterable[str]) -> list[date]:
    """Read days and ranges of days (`2025-01-01..2025-01-31`). Raises `BadDays`."""
    days: set[date] = set()
    for text in texts:
        begin, dots, end = (part.strip() for part in text.partition(".."))
        try:
            first = date.fromisoformat(begin)
            last = date.fromisoformat(end) if dots else first
        except ValueError:
            raise BadDays(
                f"days: {text[:40]!r} is no day like 2025-01-10, and no range like 2025-01-01..2025-01-31"
            ) from None
        if last < first or (last - first).days > _MAX_DAYS:
            raise BadDays(f"days: {text[:40]!r} is an empty range, or one of more than {_MAX_DAYS:,} days")
        days |= {first + timedelta(number) for number in range((last - first).days + 1)}
    if not days:
        raise BadDays("days: name at least one")
    return sorted(days)


def try_rules(days: Iterable[date], rules: Rules, *, tables: Tables) -> RulesTrial:
    """Apply rules to the tables of these days, and count what they flag. Nothing is written."""
    trial = RulesTrial({rule.id: RuleTrial() for rule in rules.rules}, rules.version)
    for day in days:
        try:
            _try_day(day, rules, tables, trial)
        except MissingTable as error:
            trial.missing.append(f"{day}: {error}")
    return trial


def _try_day(day: date, rules: Rules, tables: Tables, trial: RulesTrial) -> None:
    flagged = _ids_by_rule(flag_rows(day, tables, rules, None))
    archived = _ids_by_rule(tables.rows(schemas.FLAGGED_CALLS, day, ("call_id", "rule_id")))
    with tables.required(schemas.CALLS, day) as calls:
        trial.calls += calls.row_count
    trial.days += 1
    trial.flagged_calls += len(set().union(*flagged.values()))
    for rule_id, found in trial.rules.items():
        now, before = flagged.get(rule_id, set()), archived.get(rule_id, set())
        found.calls += len(now)
        found.days += bool(now)
        found.new += len(now - before)
        found.gone += len(before - now)
        found.sample += [(call_id, day) for call_id in sorted(now)][: _SAMPLE_SIZE - len(found.sample)]


def _ids_by_rule(rows: Iterable[Row]) -> dict[str, set[str]]:
    ids: dict[str, set[str]] = {}
    for row in rows:
        ids.setdefault(row["rule_id"], set()).add(row["call_id"])
    return ids
