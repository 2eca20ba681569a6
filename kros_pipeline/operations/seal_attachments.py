"""What belongs to a seal and is an object of its own: signature, time-stamp, Object Lock. Any later run may add it."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from ..archive.governance import Governance
from ..archive.object_store import CREATE, ObjectStore
from ..archive.seal_chain import SealChain
from ..archive.seal_signers import Signer, fingerprint_of, pem_of, sign_and_verify
from ..core.clock import Clock
from ..core.errors import ArchiveError, ObjectExists, SigningFailed, TimestampFailed
from ..core.seal_keys import PUBLIC_KEYS, public_key_key, seal_key
from .timestamping import Timestamp

Stamp = Callable[[bytes, bytes | None], Timestamp]
"""Has a text time-stamped, by the request of an earlier try if there is one."""
_MOST_AT_ONCE = 200


@dataclass
class Attachments:
    """How many seals lack a signature or a time-stamp, whether or not one is wanted, and why those wanted are owed."""

    seals: int = 0
    unsigned: int = 0
    unstamped: int = 0
    owed: list[str] = field(default_factory=list)


def complete_seals(
    *,
    store: ObjectStore,
    governance: Governance,
    chain: SealChain,
    signer: Signer | None,
    stamp: Stamp | None,
    retain_days: int | None,
    clock: Clock,
) -> Attachments:
    """Sign, time-stamp and lock the seals that are not yet, as far as the settings want it.

    What fails is owed, and fails nothing. Raises `ChainBroken`, and `ArchiveError` where the bucket fails.
    """
    present = chain.overview()
    found = Attachments(seals=len(present))
    unsigned = [number for number, suffixes in present.items() if "sig" not in suffixes]
    unstamped = [number for number, suffixes in present.items() if "tsr" not in suffixes]
    writer = _Writer(store, governance, retain_days, clock)
    signed = stamped = 0
    try:
        if signer is not None:
            for number in unsigned[:_MOST_AT_ONCE]:
                _add_signature(number, writer, signer)
                signed += 1
    except SigningFailed as error:
        found.owed.append(f"signatures are owed: {error}. The next look signs again")
    try:
        if stamp is not None:
            for number in unstamped[:_MOST_AT_ONCE]:
                _add_timestamp(number, writer, stamp)
                stamped += 1
    except TimestampFailed as error:
        found.owed.append(f"time-stamps are owed: {error}. The next look asks again")
    found.unsigned, found.unstamped = len(unsigned) - signed, len(unstamped) - stamped
    if retain_days is not None:
        try:
            due = sorted(number for number in present if number > chain.index.retained_until)
            for entry in store.list(PUBLIC_KEYS) if due else ():
                writer.retain(entry.key)
            for number in due:
                for suffix in sorted(present[number]):  # what was added before the setting was made, too
                    writer.retain(seal_key(number, suffix))
                chain.index.retained_until = number
        except ArchiveError as error:
            found.owed.append(
                f"Object Lock of seals is owed: {error}. KROS_SEAL_RETAIN_DAYS needs a bucket with Object Lock, and "
                "the right s3:PutObjectRetention"
            )
    return found


class _Writer:
    """Puts what belongs to seals, create-only, under Object Lock where that is wanted."""

    def __init__(self, store: ObjectStore, governance: Governance, retain_days: int | None, clock: Clock):
        self.store, self.clock = store, clock
        self._governance, self._retain_days = governance, retain_days

    def create(self, key: str, body: bytes, content_type: str) -> None:
        """Put an object, unless it is there."""
        digest = hashlib.sha256(body).hexdigest()
        with suppress(ObjectExists):
            self.store.put(key, body, sha256=digest, mode=CREATE, content_type=content_type)
            if self._retain_days is not None:
                with suppress(ArchiveError):  # the lock of the seal itself reports it
                    self.retain(key)

    def retain(self, key: str) -> None:
        """Place an object under Object Lock."""
        if self._retain_days is not None:
            self._governance.retain(key, self.clock.now() + timedelta(days=self._retain_days))

    def read(self, number: int) -> bytes:
        """Return the text of a seal."""
        body = self.store.read(seal_key(number))
        if body is None:
            raise ArchiveError(f"{seal_key(number)} is gone: restore it from a version, a replica or a copy")
        return body


def _add_signature(number: int, writer: _Writer, signer: Signer) -> None:
    """Add the public key before the signature that it verifies."""
    signature, key = sign_and_verify(signer, writer.read(number)), signer.public_key()
    first_used = writer.clock.now().isoformat(timespec="seconds")
    prose = f"SHA-256 of the DER: {fingerprint_of(key)}\nfirst used: {first_used}\n"
    writer.create(public_key_key(fingerprint_of(key)), prose.encode() + pem_of(key), "application/x-pem-file")
    writer.create(seal_key(number, "sig"), signature, "application/octet-stream")


def _add_timestamp(number: int, writer: _Writer, stamp: Stamp) -> None:
    """Add the answer last: where it is, the request that it answers and its certificates are, too."""
    query_key = seal_key(number, "tsq")
    timestamp = stamp(writer.read(number), writer.store.read(query_key))
    writer.create(query_key, timestamp.query, "application/timestamp-query")
    if writer.store.read(query_key) != timestamp.query:
        raise TimestampFailed(f"another run asks for that of {seal_key(number)} at the same time")
    writer.create(seal_key(number, "tsa.pem"), timestamp.certificates, "application/x-pem-file")
    writer.create(seal_key(number, "tsr"), timestamp.reply, "application/timestamp-reply")
