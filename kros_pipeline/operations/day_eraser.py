"""One day without some of its calls: everything that is theirs deleted, everything that names them written anew."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from hashlib import sha256
from io import BytesIO

import pyarrow as pa

from ..archive.compare_and_swap import compare_and_swap
from ..archive.governance import ObjectVersion
from ..archive.object_store import Replace
from ..archive.parquet import Partition
from ..core import schemas
from ..core.errors import ArchiveError
from ..core.object_keys import (
    acknowledged_prefix,
    audio_prefix,
    audit_prefix,
    call_key,
    call_key_in,
    extensions_prefix,
    held_prefix,
    listing_key,
    quarantine_prefix,
    table_key,
    unparsed_prefix,
)
from ..steps.reconciliation import read_reconciliation, reconcile_day
from ..steps.run_context import RunContext


class DayEraser:
    """Erases calls of one day; their tombstones are there already. May be called again until nothing is left."""

    def __init__(self, ctx: RunContext, day: date, call_ids: set[str], unparsed_keys: set[str]):
        self._ctx, self._day, self._call_ids = ctx, day, call_ids
        self._keys = {call_key(call_id) for call_id in call_ids}
        self._unparsed_keys = unparsed_keys

    @property
    def prefixes(self) -> list[str]:
        """Where everything of the day lies."""
        of_the_day = (
            audio_prefix, quarantine_prefix, acknowledged_prefix, held_prefix, extensions_prefix, unparsed_prefix,
            audit_prefix, listing_key,
        )  # fmt: skip
        return [*(prefix(self._day) for prefix in of_the_day), *(table_key(name, self._day) for name in schemas.TABLES)]

    def owned(self) -> list[ObjectVersion]:
        """Every version of every object that is of these calls alone; of a decision, the intents last: they name it."""
        prefixes = (audio_prefix, quarantine_prefix, acknowledged_prefix, held_prefix)
        of_calls = [
            version
            for prefix in prefixes
            for version in self._ctx.governance.versions(prefix(self._day))
            if call_key_in(version.key) in self._keys
        ]
        unparsed = [
            version
            for version in self._ctx.governance.versions(unparsed_prefix(self._day))
            if version.key in self._unparsed_keys
        ]
        return of_calls + unparsed + sorted(self._decisions(), key=lambda version: version.key, reverse=True)

    def erase(self) -> int:
        """Does all of it, and returns how many versions were deleted."""
        doomed = self.owned()
        self._ctx.governance.delete(doomed)
        for table in schemas.TABLES.values():
            self._rewrite_table(table)
        self._rewrite_audit()
        if read_reconciliation(self._ctx, self._day) is not None:
            reconcile_day(self._ctx, self._day)
        outdated = list(self._outdated())
        self._ctx.governance.delete(outdated)
        return len(doomed) + len(outdated)

    def _decisions(self) -> Iterator[ObjectVersion]:
        prefix = extensions_prefix(self._day)
        versions = list(self._ctx.governance.versions(prefix))
        table = self._ctx.tables.rows(schemas.RETENTION_EXTENSIONS, self._day, ("call_id", "decision_id"))
        decisions = {row["decision_id"] for row in table if row["call_id"] in self._call_ids}
        intents = [version for version in versions if version.key.endswith("-intent.json") and not version.is_marker]
        unknown = [version for version in intents if _decision_of(version) not in decisions]
        with ThreadPoolExecutor(self._ctx.settings.download_workers, thread_name_prefix="erasure") as pool:
            theirs = pool.map(self._is_theirs, unknown)
            decisions |= {_decision_of(intent) for intent, is_theirs in zip(unknown, theirs, strict=True) if is_theirs}
        # Without an intent, a kill or a run at work left it of a call that was erased.
        decisions |= {_decision_of(version) for version in versions} - {_decision_of(version) for version in intents}
        for version in versions:
            if _decision_of(version) in decisions:
                yield version

    def _is_theirs(self, intent: ObjectVersion) -> bool:
        body = self._ctx.governance.read_version(intent)
        return body is not None and json.loads(body).get("call_id") in self._call_ids

    def _rewrite_table(self, table: schemas.Table) -> None:
        """As it is: that no row of an erased call is written, is for `Tables` to see to."""
        with self._ctx.tables.opened(table, self._day) as present:
            if present is None:
                return

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return present.batches() if present is not None else iter(())

        self._ctx.tables.commit(table, self._day, build)

    def _rewrite_audit(self) -> None:
        for entry in list(self._ctx.store.list(audit_prefix(self._day))):
            compare_and_swap(entry.key, partial(self._rewrite_account, entry.key))

    def _rewrite_account(self, key: str) -> None:
        """The lines stay, and name the calls by their pseudonyms."""
        file = BytesIO()
        version = self._ctx.store.copy_into(key, file)
        try:
            lines = [json.loads(line) for line in file.getvalue().splitlines()]
        except ValueError:
            raise ArchiveError(f"{key} does not hold the account that was written there") from None
        theirs = [line for line in lines if line.get("call") in self._keys]
        if version is None or not theirs:
            return
        for line in theirs:
            line["call"] = self._ctx.tombstones.pseudonym(line["call"])
        body = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
        self._ctx.store.put(
            key, body, sha256=sha256(body).hexdigest(), mode=Replace(version), content_type="application/x-ndjson"
        )

    def _outdated(self) -> Iterator[ObjectVersion]:
        """Old versions of what was written anew: of tables all, for any may have held a row; of accounts their own."""
        for name in schemas.TABLES:
            for version in self._ctx.governance.versions(table_key(name, self._day)):
                if not version.is_latest:
                    yield version
        for version in self._ctx.governance.versions(audit_prefix(self._day)):
            if not version.is_latest and not version.is_marker:
                body = self._ctx.governance.read_version(version)
                if body is not None and any(f'"{key}"'.encode() in body for key in self._keys):
                    yield version


def _decision_of(version: ObjectVersion) -> str:
    """The decision in `state/extensions/dt=…/<decision>/…`."""
    return version.key.split("/")[3]
