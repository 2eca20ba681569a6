"""`transcripts`: the text of each call, as it came."""

import logging
from collections import Counter
from dataclasses import replace
from datetime import date
from functools import partial

from ..archive.listings import read_usable_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_ends_at
from ..core.list_answers import ListAnswers
from ..core.speaker_roles import USUAL_ROLES, SpeakerRoles
from ..core.statuses import TranscriptStatus
from ..core.two_answers import is_last_chance
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource, TranscriptAnswer
from .answer_file import AnswerFile, ask_all
from .other_answers import keep_other_answer
from .pending_file import PendingFile
from .report import Report
from .transcript_fetcher import TranscriptFetcher


def fetch_transcripts(
    day: date,
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
    retention_days: int | None,
    ask_every_transcript: bool,
    download_workers: int,
    log: logging.Logger,
    roles: SpeakerRoles = USUAL_ROLES,
) -> Report:
    """Write a row for every call of the day. Upstream is asked, call by call, only where the list's text is not enough.

    That there is no transcript, or none better than the list's, takes two answers: see `core/two_answers.py`. A kept
    text is asked about once more where it may be cut, or where the list shows another one. A longer text that begins
    with the kept one replaces it; any other is kept below `state/transcripts/`, and the row says so.
    Quota or key end the asking early: the rest is `pending`, and the error is in the report. Answers are saved in
    checkpoints. Raises `MissingTable` where the day has no table `calls`, and `LocalFault` where no temporary file can
    take the answers.
    """
    report = Report()
    fetcher = TranscriptFetcher(
        day,
        source,
        clock,
        report,
        listed=ListAnswers(read_usable_listing(store, day)),
        grace_ends_at=grace_ends_at(day, lookback_days),
        is_last_chance=is_last_chance(day, retention_days, clock.now()),
        ask_every_transcript=ask_every_transcript,
        roles=roles,
        keep_other_answer=partial(keep_other_answer, store, tombstones, day),
    )

    with (
        tables.required(schemas.CALLS, day) as calls,
        tables.transaction(schemas.TRANSCRIPTS, day) as table,
        AnswerFile[TranscriptAnswer | None]() as answers,
        PendingFile[Row]() as to_ask,
    ):
        fetcher.choose(calls, table.present, to_ask)
        results = []
        if len(to_ask) and fetcher.is_old(table.present):  # checkpoints would add the column that tells it
            results.append(table.commit(fetcher.recount))

        def save() -> None:
            results.append(table.commit(lambda present: fetcher.add_answers(present, answers)))
            answers.clear()
            log.info("%s: %d transcripts answered", day, answers.total)

        with worker_threads(download_workers, "transcripts", clock) as pool:
            ask_all(to_ask, fetcher.ask, answers, save, pool=pool, breaker=fetcher.breaker)
        last = table.commit(lambda present: fetcher.settle_all(calls, present, answers))
        report.written = replace(last, changed=last.changed or any(result.changed for result in results))
        statuses = Counter(row["status"] for row in table.rows(("status",)))
    report.counts = {"answered": answers.total, "replaced_by_longer": fetcher.replaced_count}
    report.counts |= {str(status): statuses[status] for status in TranscriptStatus}
    report.error = fetcher.breaker.error
    return report
