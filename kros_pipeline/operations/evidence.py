"""Export calls as evidence: recordings, records and audit lines, with the seals that a stranger checks them against.

The package holds personal data, and leaves the archive: no erasure reaches it. So each export has a reason, and an
audit line for each call.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from ..archive.archived_days import days_of_table
from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import ObjectStore
from ..archive.seal_chain import SealChain, describe_head
from ..archive.sealed_day import open_manifest, open_records
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.audio import MP3_TYPE, NotAudio
from ..core.audio_formats import inspect_audio
from ..core.call_records import Record, is_same_record, parse_manifest_line, parse_record
from ..core.clock import Clock
from ..core.errors import ArchiveError, LocalFault, UnknownCalls
from ..core.evidence_pages import ExportedCall, write_certificate, write_readme, write_summary
from ..core.json_values import canonical_json
from ..core.object_keys import audit_prefix, call_key
from ..core.redaction import redact
from ..core.seal_keys import PUBLIC_KEYS, call_key_in_path, seal_key
from ..core.vcon import make_vcon
from ..core.verify_page import write_package_page
from .day_records import open_day_records
from .evidence_package import EvidencePackage
from .residue_search import ResidueSearch

_SUFFIXES = ("txt", "sig", "tsq", "tsr", "tsa.pem")
_MAX_INLINE_BYTES = 32 << 20  # of a recording in a vCon, which is read as a whole
_MAX_NAMED = 5
_AGENT = "kros_pipeline"


class EvidenceRefused(ArchiveError):
    """The export cannot be made as it is asked for. No package was written."""


@dataclass(frozen=True)
class EvidenceRequest:
    """What to export: calls by id, or all calls of one day; why; and where, a folder of the machine that runs this."""

    call_ids: tuple[str, ...]
    day: date | None
    reason: str
    folder: str
    as_zip: bool = False

    def check(self, *, dry_run: bool) -> None:
        """Raise `EvidenceRefused` for a request that is incomplete or contradicts itself."""
        if bool(self.call_ids) == bool(self.day):
            raise EvidenceRefused("export_evidence needs either call_ids or a day.")
        if not self.reason.strip():
            raise EvidenceRefused("export_evidence needs a reason, for the audit; it must name nobody.")
        if not (self.folder.strip() or dry_run):
            raise EvidenceRefused("export_evidence needs a folder, on the machine that runs this, to write to.")


@dataclass
class EvidenceResult:
    """What was exported, or in a dry run would be; `place` is where the package is."""

    calls: int = 0
    recordings: int = 0
    audio_bytes: int = 0
    days: list[date] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    place: str = ""


@dataclass
class _FoundCall:
    record: Record
    line: bytes  # of the sealed record, or of one made of the tables
    manifest_lines: list[bytes]
    seals: list[int]


def export_evidence(
    request: EvidenceRequest,
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    audit_log: Callable[[date, str], AuditLog],
    run_id: str,
    dry_run: bool,
) -> EvidenceResult:
    """Write the package of a request. Raises `EvidenceRefused`, `UnknownCalls` and `LocalFault`; then there is none."""
    request.check(dry_run=dry_run)
    wanted = frozenset(request.call_ids) if request.day is None else None
    days = [request.day] if request.day is not None else days_of_table(store, schemas.CALLS.name)
    chain = SealChain(store, clock)
    chain.catch_up()
    found = {day: calls for day in days if (calls := list(_find_calls(day, wanted, store, tables, tombstones, chain)))}
    result = _describe(found)
    _refuse_unknown(request, found)
    if dry_run:
        return result
    made_at = clock.now()
    name = f"evidence-{made_at:%Y%m%dT%H%M%SZ}-{run_id[:8]}"
    package = EvidencePackage(Path(request.folder).expanduser(), name)
    try:
        exported = [
            _add_call(package, call, day, store, made_at, lines)
            for day, calls in found.items()
            for lines in [_audit_lines(store, day, {call_key(call.record["call_id"]) for call in calls})]
            for call in calls
        ]
        _add_seals(package, {number for calls in found.values() for call in calls for number in call.seals}, store)
        reason, url = redact(request.reason.strip()), store.url("")
        head = describe_head(store, clock)
        package.add("VERIFY.txt", write_package_page())
        package.add("README.txt", write_readme(exported, url))
        package.add("CERTIFICATE-draft.txt", write_certificate(exported, archive_url=url, made_at=made_at))
        summary = write_summary(exported, made_at=made_at, archive_url=url, reason=reason, head=head, run_id=run_id)
        package.add("SUMMARY.html", summary)
        for day, calls in found.items():
            audit = audit_log(day, "export")
            for call in calls:
                audit.record(AuditEvent.EXPORTED, call.record["call_id"], reason=reason, package=name)
            audit.write()
        result.place = str(
            package.finish(
                day=made_at.date(),
                description=f"{result.calls} recorded calls; {reason}",
                identifier=name,
                agent=_AGENT,
                as_zip=request.as_zip,
            )
        )
    except OSError as error:
        raise LocalFault(f"the package cannot be written to {request.folder}: {error.strerror}") from None
    finally:
        package.discard()
    return result


def _find_calls(
    day: date,
    wanted: frozenset[str] | None,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    chain: SealChain,
) -> Iterator[_FoundCall]:
    """Yield the wanted calls of a day, all if none is named, with their lines in the day's records and manifest."""
    if wanted is not None and not wanted & {row["call_id"] for row in tables.rows(schemas.CALLS, day, ("call_id",))}:
        return
    erased, numbers = tombstones.pseudonyms(), [seal.number for seal in chain.seals_of(day)]
    with ExitStack() as stack:
        stored = stack.enter_context(open_records(store, day))
        manifest = stack.enter_context(open_manifest(store, day))
        records = stack.enter_context(open_day_records(day, tables, store.full_key("")))
        by_id = {
            record["call_id"]: record
            for record in records
            if (wanted is None or record["call_id"] in wanted)
            and not tombstones.matches(call_key(record["call_id"]), erased)
        }
        keys = {call_key(call_id) for call_id in by_id}
        lines: dict[str, list[bytes]] = {}
        for line in manifest.lines() if numbers else ():
            parsed = parse_manifest_line(line)
            if parsed is not None and call_key_in_path(parsed[1]) in keys:
                lines.setdefault(call_key_in_path(parsed[1]), []).append(line)
        sealed = {
            record["call_id"]: line
            for line in stored.lines()
            if (record := parse_record(line)) is not None and record["call_id"] in by_id
        }
        for call_id, record in by_id.items():
            line = sealed.get(call_id, b"")
            of_manifest = lines.get(call_key(call_id), [])
            is_sealed = bool(of_manifest) and is_same_record(line, record)
            own = line if is_sealed else (canonical_json(record) + "\n").encode()
            yield _FoundCall(record, own, of_manifest if is_sealed else [], numbers if is_sealed else [])


def _describe(found: Mapping[date, list[_FoundCall]]) -> EvidenceResult:
    calls = [call for of_day in found.values() for call in of_day]
    recordings = [row for call in calls for row in call.record["tables"]["recordings"] if row["status"] == "archived"]
    return EvidenceResult(
        calls=len(calls),
        recordings=len(recordings),
        audio_bytes=sum(row["size_bytes"] or 0 for row in recordings),
        days=sorted(found),
        unsealed=[call_key(call.record["call_id"]) for call in calls if not call.manifest_lines],
    )


def _refuse_unknown(request: EvidenceRequest, found: Mapping[date, list[_FoundCall]]) -> None:
    known = {call.record["call_id"] for calls in found.values() for call in calls}
    unknown = sorted(set(request.call_ids) - known)
    if unknown:
        names = ", ".join(map(call_key, unknown[:_MAX_NAMED]))
        raise UnknownCalls(f"{len(unknown)} of call_ids are not in this archive, or were erased: {names}")
    if not known:
        raise EvidenceRefused(f"{request.day} has no call in this archive.")
    if ResidueSearch(known, None).is_named_in(request.reason):
        raise EvidenceRefused("The reason names a call; it stays in the audit log, and must name nobody.")


def _add_call(
    package: EvidencePackage,
    call: _FoundCall,
    day: date,
    store: ObjectStore,
    made_at: datetime,
    audit_lines: Mapping[str, list[bytes]],
) -> ExportedCall:
    """Add the files of one call. Raises `EvidenceRefused` where its recording is not the archived one any more."""
    record, key = call.record, call_key(call.record["call_id"])
    folder = f"calls/{day.isoformat()}/{key}"
    audio: bytes | None = None
    media_type = ""
    if record["audio"]["key"]:
        path = f"{folder}/recording.mp3"
        with package.open(path) as file:
            version = store.copy_into(record["audio"]["key"], file)
            size_bytes = file.tell()
            file.seek(0)
            audio = file.read(_MAX_INLINE_BYTES) if size_bytes <= _MAX_INLINE_BYTES else None
            media_type = _media_type(audio or b"")
        if version is None or package.close(path) != record["audio"]["sha256"]:
            raise EvidenceRefused(
                f"{record['audio']['key']} is {'gone' if version is None else 'not the recording that was archived'}: "
                "launch verify_archive for its day, and restore it from a version"
            )
    text = next((row["text"] for row in record["tables"]["transcripts"] if row["text"]), None)
    if text is not None:
        package.add(f"{folder}/transcript.txt", str(text).encode())
    turns = "".join(canonical_json(turn) + "\n" for turn in record["tables"]["utterances"])
    package.add(f"{folder}/utterances.jsonl", turns.encode())
    package.add(f"{folder}/record.json", call.line)
    package.add(f"{folder}/manifest-lines.txt", b"".join(call.manifest_lines))
    package.add(f"{folder}/audit.jsonl", b"".join(audit_lines.get(key, [])))
    vcon = make_vcon(record, audio, media_type=media_type, made_at=made_at, archive_url=store.url(""))
    package.add(f"{folder}/call.vcon.json", json.dumps(vcon, ensure_ascii=False, indent=1).encode())
    sealed_by = ", ".join(f"seal-{number:06d}" for number in call.seals) or "no seal yet"
    return ExportedCall(record, folder, sealed_by, len(audit_lines.get(key, [])))


def _media_type(audio: bytes) -> str:
    try:
        return inspect_audio(audio).content_type
    except NotAudio:
        return MP3_TYPE


def _audit_lines(store: ObjectStore, day: date, keys: Collection[str]) -> dict[str, list[bytes]]:
    """Return the audit lines of calls, by call key, in the order of their time."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for entry in store.list(audit_prefix(day)):
        for line in (store.read(entry.key) or b"").splitlines(keepends=True):
            try:
                event = json.loads(line)
                key, at = event["call"], str(event["at"])
            except (ValueError, KeyError, TypeError):
                continue  # no line of ours: it is about no call
            if key in keys:
                found.setdefault(key, []).append((at, line))
    return {key: [line for _, line in sorted(lines)] for key, lines in found.items()}


def _add_seals(package: EvidencePackage, numbers: Collection[int], store: ObjectStore) -> None:
    """Add the seals with what belongs to them, and the public keys."""
    keys = [seal_key(number, suffix) for number in sorted(numbers) for suffix in _SUFFIXES]
    keys += [entry.key for entry in store.list(PUBLIC_KEYS)] if numbers else []
    for key in keys:
        body = store.read(key)
        if body is not None:
            package.add(key, body)
