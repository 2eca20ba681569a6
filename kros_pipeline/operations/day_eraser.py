"""The day eraser: deletes what belongs to erased calls of one day, and rewrites what names them."""

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date
from hashlib import sha256
from io import BytesIO

import pyarrow as pa

from ..archive.compare_and_swap import compare_and_swap
from ..archive.decision_claims import decision_in, read_claim
from ..archive.governance import Governance, ObjectVersion, versions_at
from ..archive.listings import read_usable_listing, update_listing
from ..archive.object_store import ObjectStore, Replace
from ..archive.parquet import Partition
from ..archive.sealed_day import remove_calls
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.errors import ArchiveError
from ..core.id_digests import digest_id
from ..core.listing import Listing
from ..core.object_keys import (
    DECISIONS,
    acknowledged_prefix,
    audio_prefix,
    audit_prefix,
    call_key,
    call_key_in,
    decision_key,
    extensions_prefix,
    held_prefix,
    listing_key,
    moved_prefix,
    other_answers_prefix,
    quarantine_prefix,
    reviews_prefix,
    table_key,
    unparsed_prefix,
)
from ..core.seal_keys import manifest_key, records_key
from ..core.worker_threads import worker_threads
from .decision_search import COLUMNS, call_named_in, decisions_of_others

_CALL_PREFIXES = (
    audio_prefix, quarantine_prefix, acknowledged_prefix, held_prefix, moved_prefix, other_answers_prefix,
    reviews_prefix,
)  # fmt: skip


class DayEraser:
    """Erases calls of one day, whose tombstones exist already. May be called again until nothing is left.

    `reconcile` reconciles the day again, if it has a row in `reconciliation`.
    """

    def __init__(
        self,
        day: date,
        call_ids: set[str],
        unparsed_keys: set[str],
        *,
        store: ObjectStore,
        governance: Governance,
        tables: Tables,
        tombstones: Tombstones,
        reconcile: Callable[[date], None],
        threads: int,
    ):
        self._day, self._call_ids, self._unparsed_keys = day, call_ids, unparsed_keys
        self._keys = {call_key(call_id) for call_id in call_ids}
        self._store, self._governance, self._tables = store, governance, tables
        self._tombstones, self._reconcile, self._threads = tombstones, reconcile, threads
        self._token = uuid.uuid4().hex
        self._has_barred = False

    def find_owned(self) -> list[ObjectVersion]:
        """Return every version of every object that belongs to these calls only.

        The intents of a decision, and then its claim, come last: they name the call, so that a killed run finds the
        rest again.
        """
        of_calls = [
            version
            for prefix in _CALL_PREFIXES
            for version in self._governance.versions(prefix(self._day))
            if call_key_in(version.key) in self._keys
        ]
        unparsed = [
            version
            for version in self._governance.versions(unparsed_prefix(self._day))
            if version.key in self._unparsed_keys
        ]
        claims, requests = self._find_decisions()
        return of_calls + unparsed + sorted(requests, key=lambda version: version.key, reverse=True) + claims

    def erase(self) -> int:
        """Erase everything of these calls, and return how many versions were deleted."""
        owned = self.find_owned()
        self._governance.delete(owned)
        for table in schemas.ALL_TABLES.values():
            self._rewrite_table(table)
        self._has_barred = True
        for entry in list(self._store.list(audit_prefix(self._day))):
            self._rewrite_audit_object(entry.key)
        self._rewrite_listing()
        remove_calls(self._store, self._day, self._call_ids, self._token)
        self._reconcile(self._day)
        outdated = list(self._find_outdated())
        self._governance.delete(outdated)
        return len(owned) + len(outdated)

    def _find_decisions(self) -> tuple[list[ObjectVersion], list[ObjectVersion]]:
        """Return the claims of all decisions about these calls, and their requests, which other days may have."""
        versions = list(self._governance.versions(extensions_prefix(self._day)))
        rows = self._tables.rows(schemas.RETENTION_EXTENSIONS, self._day, COLUMNS)
        decisions = {row["decision_id"] for row in rows if row["call_id"] in self._call_ids}
        of_others = decisions_of_others(rows, self._call_ids)
        intents = [version for version in versions if version.key.endswith("-intent.json") and not version.is_marker]
        unknown = [one for one in intents if decision_in(one.key) not in decisions | of_others]
        with worker_threads(self._threads, "erasure") as pool:
            hits = pool.map(self._names_erased_call, unknown)
            decisions |= _decisions_in(intent for intent, is_hit in zip(unknown, hits, strict=True) if is_hit)
        # A decision without an intent is the rest of an erased call's: a killed erasure, or a run under way, left it.
        decisions |= _decisions_in(versions) - _decisions_in(intents)
        requests = [version for version in versions if decision_in(version.key) in decisions]
        homes = {home for decision in decisions if (home := read_claim(self._store, decision)) not in (None, self._day)}
        for home in homes:
            of_home = self._governance.versions(extensions_prefix(home))
            requests += [version for version in of_home if decision_in(version.key) in decisions]
        return find_claims(map(decision_key, decisions), self._governance), requests

    def _names_erased_call(self, intent: ObjectVersion) -> bool:
        return call_named_in(self._governance.read_version(intent)) in self._call_ids

    def _rewrite_table(self, table: schemas.Table) -> None:
        """Rewrite a partition unchanged: `Tables` drops the rows of erased calls.

        The first time, each write under way loses its condition: it has read the partition before the tombstones.
        """
        if not self._has_barred:
            self._tables.bar_late_writes(table, self._day, self._token)
            return

        def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
            return present.batches() if present is not None else iter(())

        self._tables.commit(table, self._day, build)

    def _rewrite_audit_object(self, key: str) -> None:
        """Replace the calls' keys by their pseudonyms; the lines stay."""
        compare_and_swap(key, lambda: self._pseudonymize(key))

    def _pseudonymize(self, key: str) -> None:
        file = BytesIO()
        version = self._store.copy_into(key, file)
        try:
            lines = [json.loads(line) for line in file.getvalue().splitlines()]
        except ValueError:
            raise ArchiveError(f"{key} does not hold the audit lines that were written there") from None
        of_calls = [line for line in lines if line.get("call") in self._keys]
        if version is None or not of_calls:
            return
        for line in of_calls:
            line["call"] = self._tombstones.pseudonym(line["call"])
        body = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
        self._store.put(
            key,
            body,
            sha256=sha256(body).hexdigest(),
            mode=Replace(version),
            content_type="application/x-ndjson",
        )

    def _rewrite_listing(self) -> None:
        """Take the calls' digests out of the listing: it names what the table `calls` has to hold.

        Where there is none, one that proves nothing is created, so that a first one that is on its way is made again.
        """
        erased = {digest_id(call_id) for call_id in self._call_ids}

        is_usable = read_usable_listing(self._store, self._day) is not None

        def change(last: Listing | None) -> Listing:
            if last is None and is_usable:
                raise ArchiveError(f"{listing_key(self._day)} is gone or was damaged meanwhile: launch the job again")
            return (last or Listing(proved=False, listed_total=0)).without_calls(erased, self._token)

        if is_usable or self._store.head(listing_key(self._day)) is None:
            update_listing(self._store, self._day, change)

    def _find_outdated(self) -> Iterator[ObjectVersion]:
        """Yield old versions of what was rewritten: of tables all, because any may hold a row of these calls."""
        for name in schemas.ALL_TABLES:
            for version in self._governance.versions(table_key(name, self._day)):
                if not version.is_latest:
                    yield version
        for key in (listing_key(self._day), records_key(self._day), manifest_key(self._day)):
            for version in versions_at(self._governance, key):
                if not version.is_latest:  # it may have a digest, a record or a key of these calls
                    yield version
        for version in self._governance.versions(audit_prefix(self._day)):
            if not version.is_latest and not version.is_marker:
                body = self._governance.read_version(version)
                if body is not None and any(f'"{key}"'.encode() in body for key in self._keys):
                    yield version


def find_claims(keys: Iterable[str], governance: Governance) -> list[ObjectVersion]:
    """Return every version of the claims at these keys."""
    return [version for key in keys for version in versions_at(governance, key)]


def delete_claims(residue: Iterable[str], call_ids: Collection[str], governance: Governance) -> int:
    """Delete the claims in a search's residue that name these calls: a run was killed before the intent.

    No journal has them, so that no day eraser finds them. Return how many versions were deleted.
    """
    keys = {found.split(" ")[0] for found in residue if found.startswith(DECISIONS)}
    claims = [
        claim for claim in find_claims(keys, governance) if call_named_in(governance.read_version(claim)) in call_ids
    ]
    governance.delete(claims)
    return len(claims)


def _decisions_in(versions: Iterable[ObjectVersion]) -> set[str]:
    return {decision for version in versions if (decision := decision_in(version.key)) is not None}
