"""Seal the settled days: the oldest first, a bounded number at a time, and then what the seals lack.

A day is sealed once it was complete after its grace days, with calls or without, and again where what it has, or its
verdict, has changed. A sealed day whose tables were deleted is refused until they are back, or until somebody has the
whole day forgotten. Nothing here asks KrosAI.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from ..archive.day_totals import KeptDay, read_kept_days
from ..archive.governance import Governance
from ..archive.object_store import ObjectStore
from ..archive.seal_chain import ChainBroken, SealChain
from ..archive.seal_signers import Signer, open_signer
from ..archive.sealed_day import digest_versions
from ..archive.table_versions import list_records, read_checked_tables
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.day_total import DAY_WITHOUT_ROW
from ..core.days import grace_is_over, parse_day
from ..core.errors import ArchiveDenied, ArchiveError
from ..core.statuses import DayVerdict
from ..core.worker_threads import worker_threads
from ..steps.run_context import RunContext
from .day_states import DayState, list_tables, read_day_states
from .seal_attachments import Attachments, Stamp, complete_seals
from .seal_day import DayFacts, SealRefused, seal_day
from .timestamping import ask_for_timestamp

_MOST_DAYS = 50  # of one look: a new version of the software finds years of days
_MOST_NAMED = 5
_THREADS = 16
_ROW = schemas.RECONCILIATION.name


@dataclass
class SealingReport:
    """What one look has sealed, what it has not and why, and what the chain is like afterwards.

    `owed` are sentences about what the next look tries again by itself, `refused` about what a person has to mend.
    """

    sealed: list[date] = field(default_factory=list)
    looked_at: int = 0
    left: int = 0
    owed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    attachments: Attachments = field(default_factory=Attachments)
    head: str = ""


def seal_days(
    *,
    store: ObjectStore,
    governance: Governance,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
    signer: Signer | None,
    stamp: Stamp | None,
    retain_days: int | None,
    log: logging.Logger,
    most_days: int = _MOST_DAYS,
) -> SealingReport:
    """Seal the days that are due, and add what the seals lack.

    A day that could not be sealed is owed, and the others go on. Raises `ArchiveDenied`, which every day would meet.
    """
    chain, report = SealChain(store, clock), SealingReport()
    try:
        chain.catch_up()
        listed, records = _list_tables(store), list_records(store)
        due = _find_due(listed, records, chain.index.looked)
        sealed = {day for text in chain.index.days if (day := parse_day(text)) is not None}
        kept = _read_kept(store, [day for day in sealed if day in due or day not in listed[_ROW]])
        without_row = _find_days_without_row(kept, listed[_ROW])
        report.refused += _refuse_days_without_row(without_row)
        for day, tables_gone in _find_deleted(
            kept.keys() & due.keys() - set(without_row), kept, listed, records
        ).items():
            report.refused.append(_describe_deleted(day, tables_gone))
            del due[day]
        due = {day: digest for day, digest in due.items() if day not in without_row}
        # Days that were never sealed come first: those that stay refused must not take their turns.
        in_turn = sorted(due, key=lambda day: (day in sealed, day))
        chosen = {day: due[day] for day in in_turn[:most_days]}
        report.left = len(due) - len(chosen)
        states, looked = read_day_states(chosen, store=store, tables=tables), {}
        for day, digest in chosen.items():
            report.looked_at += 1
            is_sealed = day in sealed
            try:
                if is_sealed and states[day].deleted:
                    raise SealRefused(_describe_deleted(day, states[day].deleted))
                if _is_to_be_sealed(day, states[day], lookback_days, is_sealed=is_sealed):
                    seal = seal_day(
                        day,
                        _facts_of(day, states[day], store),
                        store=store,
                        tables=tables,
                        tombstones=tombstones,
                        chain=chain,
                        clock=clock,
                        is_signature_due=signer is not None,
                    )
                    if seal is not None:
                        report.sealed.append(day)
                        log.info("%s: sealed by seal %06d, version %d", day, seal.number, seal.version)
                looked[day.isoformat()] = digest
            except SealRefused as error:
                report.refused.append(f"{error}")
            except (ChainBroken, ArchiveDenied):
                raise
            except ArchiveError as error:
                report.owed.append(f"{day} is not sealed: {error}. The next look seals it")
        report.attachments = complete_seals(
            store=store,
            governance=governance,
            chain=chain,
            signer=signer,
            stamp=stamp,
            retain_days=retain_days,
            clock=clock,
        )
        report.owed += report.attachments.owed
        chain.save(looked)
    except ChainBroken as error:
        report.refused.append(f"{error}")
        return report
    number, digest = chain.head
    report.head = f"{number:06d} {digest}" if number else ""
    return report


def describe_seals(store: ObjectStore, clock: Clock) -> dict[str, str | int]:
    """Return what the asset `archive` shows of the seals: the head of the chain, its day, and what is to be sealed.

    A broken chain is described, and stops nothing here: `seal_days` fails.
    """
    chain = SealChain(store, clock)
    try:
        chain.catch_up()
        number, digest = chain.head
        newest = next((day for day, numbers in chain.index.days.items() if number in numbers), "none")
        shown: dict[str, str | int] = {
            "head of the seal chain": f"{number:06d} {digest}" if number else "none",
            "last sealed day": newest,
        }
    except ChainBroken as error:
        return {"head of the seal chain": f"the chain is broken: {error}"}
    due = _find_due(_list_tables(store), list_records(store), chain.index.looked)
    return shown | {"days to be sealed or looked at": len(due)}


def _list_tables(store: ObjectStore) -> dict[str, dict[date, str]]:
    with worker_threads(_THREADS, "sealing") as pool:
        return list_tables(store, pool)


def _find_due(
    listed: Mapping[str, Mapping[date, str]], records: Mapping[date, str], looked: Mapping[str, str]
) -> dict[date, str]:
    """Return the reconciled days that have changed since the last look at them, with their digest."""
    due = {}
    for day in sorted(listed[_ROW]):
        versions = {name: versions[day] for name, versions in listed.items() if day in versions}
        digest = digest_versions(versions | {"checked": records.get(day, "")})
        if looked.get(day.isoformat()) != digest:
            due[day] = digest
    return due


def _read_kept(store: ObjectStore, days: Collection[date]) -> dict[date, KeptDay]:
    """Return what the hourly look keeps of these days. It costs a request for each of their years."""
    years = sorted({day.year for day in days})
    kept = {day: value for year in years for day, value in read_kept_days(store, year).items()}
    return {day: kept[day] for day in days if day in kept}


def _find_days_without_row(kept: Mapping[date, KeptDay], rows: Mapping[date, str]) -> list[date]:
    """Return the days whose row is gone, also where another day's run has marked them since.

    A day that is not kept was deleted on purpose: its numbers were deleted, too, and made again without it.
    """
    return sorted(
        day
        for day, value in kept.items()
        if day not in rows
        or (value.total == DAY_WITHOUT_ROW and value.check is not None and value.row_version == rows[day])
    )


def _find_deleted(
    days: Iterable[date],
    kept: Mapping[date, KeptDay],
    listed: Mapping[str, Mapping[date, str]],
    records: Mapping[date, str],
) -> dict[date, list[str]]:
    """Return the deleted tables of these days, by what is kept of them: such days take no turn of others.

    A day whose row or record has changed since the last hourly look has its turn as any other.
    """
    deleted = {}
    for day in sorted(days):
        value, versions = kept[day], (listed[_ROW][day], records.get(day, ""))
        if (value.row_version, value.record_version) != versions or value.check is None or value.unread:
            continue
        gone = [name for name in value.check.tables.versions if day not in listed[name]]
        if gone and value.total.verdict != DayVerdict.INCOMPLETE:
            deleted[day] = gone
    return deleted


def _refuse_days_without_row(days: list[date]) -> list[str]:
    """Return a sentence about the sealed days whose row of `reconciliation` is gone; none where there is none."""
    if not days:
        return []
    named = ", ".join(map(str, days[:_MOST_NAMED])) + (", …" if len(days) > _MOST_NAMED else "")
    return [
        f"{len(days)} sealed days have no row of reconciliation any more: {named}. Restore their tables from a "
        "version; the next look goes on. If they were deleted on purpose, delete state/day_totals/<year>.json"
    ]


def _describe_deleted(day: date, tables: Iterable[str]) -> str:
    names = ", ".join(tables)
    return f"{day}: tables of a sealed day were deleted: {names}. Restore them from a version; the next look goes on"


def _is_to_be_sealed(day: date, state: DayState, lookback_days: int, *, is_sealed: bool) -> bool:
    """Return whether a day is settled; or was, and has another verdict since."""
    if state.is_settled(day, lookback_days):
        return True
    row = state.row
    is_worse = row is not None and row["verdict"] != DayVerdict.COMPLETE
    return is_sealed and is_worse and row is not None and grace_is_over(day, row["checked_at"], lookback_days)


def _facts_of(day: date, state: DayState, store: ObjectStore) -> DayFacts:
    row, checked = state.row or {}, read_checked_tables(store, day)
    counts = {name: value for name, value in row.items() if isinstance(value, int) and name != "api_requests"}
    counters = checked.counted.counters if checked is not None and checked.counted is not None else {}
    return DayFacts(str(row.get("verdict", "")), counts, counters)


def seal_days_of(ctx: RunContext, *, most_days: int = _MOST_DAYS) -> SealingReport:
    """Seal the days of a run's archive, with the key and the authority that the settings name."""
    settings = ctx.settings.archive
    url = settings.timestamp_url
    return seal_days(
        store=ctx.store,
        governance=ctx.governance,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        clock=ctx.clock,
        lookback_days=ctx.settings.lookback_days,
        signer=open_signer(settings.seal_key),
        stamp=(lambda body, query: ask_for_timestamp(url, body, query, ctx.clock)) if url else None,
        retain_days=settings.seal_retain_days,
        log=ctx.log,
        most_days=most_days,
    )
