"""Legal hold: the archive's own copy of a flagged call's recording is kept from deletion, too.

It is lifted by hand alone, in S3; what was lifted is not put on again, for a marker in `state/held/` says that it was
there. Until it is lifted, `erase_calls` refuses the call by name.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from ..archive.audit_log import AuditEvent
from ..archive.json_objects import create_json
from ..core import schemas
from ..core.errors import ArchiveDenied, ArchiveError
from ..core.object_keys import audio_key, call_key, held_key, held_prefix
from .run_context import RunContext, audit_log


def place_legal_holds(ctx: RunContext, day: date, stored: Collection[str]) -> list[str]:
    """Holds and tags what a rule flags and no earlier run held; a sentence for each reason why something is not held.

    `stored` are the keys of the day's audio in the bucket. Nothing is done, and nothing said, without
    `KROS_LEGAL_HOLD=on`.
    """
    if not ctx.settings.legal_hold:
        return []
    prefix = held_prefix(day)
    held = {entry.key.removeprefix(prefix).removesuffix(".json") for entry in ctx.store.list(prefix)}
    flagged = {row["call_id"] for row in ctx.tables.rows(schemas.FLAGGED_CALLS, day, ("call_id",))}
    wanted = sorted(
        call_id for call_id in flagged if call_key(call_id) not in held and audio_key(day, call_id) in stored
    )
    if not wanted:
        return []
    if not ctx.governance.has_object_lock():
        return [
            f"KROS_LEGAL_HOLD is on, and the bucket {ctx.store.bucket} has no Object Lock: "
            f"{len(wanted)} flagged recordings are not held."
        ]
    audit = audit_log(ctx, day, "hold")

    def hold(call_id: str) -> str | None:
        key = audio_key(day, call_id)
        try:
            ctx.governance.place_legal_hold(key)
            ctx.governance.tag_as_flagged(key)
        except ArchiveDenied as error:
            return f"The bucket does not allow legal hold or tags: {error}"
        except ArchiveError as error:
            return f"{call_key(call_id)} is not held: {error}."
        audit.record(AuditEvent.HELD, call_id)
        return None

    def mark(call_id: str) -> None:
        create_json(ctx.store, held_key(day, call_id), {"held_at": ctx.now().isoformat()})

    with ThreadPoolExecutor(ctx.settings.download_workers, thread_name_prefix="hold") as pool:
        sentences = dict(zip(wanted, pool.map(hold, wanted), strict=True))
        audit.write()  # before the markers: what is marked is not held again, and so not accounted for again
        list(pool.map(mark, [call_id for call_id, sentence in sentences.items() if sentence is None]))
    return sorted({sentence for sentence in sentences.values() if sentence})[:5]
