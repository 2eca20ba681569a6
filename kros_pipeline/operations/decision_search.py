"""Decides whose decisions are whose without reading them: there may be a hundred times as many as an erasure concerns.

The id of a decision is a hash of its call, its rule and its days. So a row of another call proves that a journal is not
about an erased one. A claim names its call, too, and is deleted with the journal that it leads to; only one without an
intent, which a killed run has left, leads nowhere and has to be read.
"""

import json
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from string import hexdigits

from ..archive.decision_claims import decision_in
from ..archive.governance import Governance, ObjectVersion
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..core.digest_set import DigestSet, digest_all
from ..core.object_keys import DECISIONS, EXTENSIONS
from ..steps.extension_journal import Decision

COLUMNS = ("call_id", "decision_id", "rule_id", "requested_days")
_MONTH_CHARACTERS = len("dt=2025-01")


def decisions_of_others(rows: Iterable[Row], call_ids: Collection[str]) -> set[str]:
    """Return the decisions in rows of `retention_extensions`, with `COLUMNS`, that are surely not about these calls."""
    return {
        row["decision_id"]
        for row in rows
        if row["call_id"] not in call_ids
        and row["decision_id"] == Decision(row["call_id"], row["rule_id"], row["requested_days"]).decision_id
    }


def call_named_in(body: bytes | None) -> str | None:
    """Return the call that a claim or an intent names; None where it is gone, or somebody else wrote another thing."""
    try:
        content = json.loads(body) if body is not None else None
    except (ValueError, RecursionError):
        return None
    call_id = content.get("call_id") if isinstance(content, dict) else None
    return call_id if isinstance(call_id, str) else None


def find_claims_without_intent(store: ObjectStore, governance: Governance, pool: Executor) -> list[ObjectVersion]:
    """Return every version of the claims of which no journal has an attempt. It costs a request per 1,000 objects."""
    folders = (folder.removeprefix(EXTENSIONS)[:_MONTH_CHARACTERS] for folder in store.folders(EXTENSIONS))
    begun = DigestSet()

    def list_begun(month: str) -> list[str]:
        found = {decision_in(entry.key) for entry in store.list(EXTENSIONS + month)}
        return [decision for decision in found if decision is not None]

    def list_claims(digit: str) -> list[ObjectVersion]:
        claims = list(governance.versions(DECISIONS + digit))
        names = [claim.key.rsplit("/", 1)[1].removesuffix(".json") for claim in claims]
        return [claim for claim, is_begun in zip(claims, begun.has(digest_all(names)), strict=True) if not is_begun]

    for decisions in pool.map(list_begun, sorted(set(folders))):
        begun.update(decisions)
    digits = sorted(set(hexdigits.lower()))
    return [claim for claims in pool.map(list_claims, digits) for claim in claims]
