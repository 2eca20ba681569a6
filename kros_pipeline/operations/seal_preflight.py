"""The preflight of seals: whether the key signs, and whether the authority time-stamps. Nothing is written."""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..archive.seal_signers import fingerprint_of, open_signer, sign_and_verify
from ..archive.settings import SEAL_KEY, TIMESTAMP_URL, ArchiveSettings
from ..core.clock import Clock
from .preflight_result import PreflightResult, Skipped, run_check
from .timestamping import ask_for_timestamp

_NO_SEAL = b"a text of the preflight, and no seal\n"


def check_seals(settings: ArchiveSettings, clock: Clock) -> Iterator[PreflightResult]:
    """Yield the checks of what signs and what time-stamps seals. Each is tried with a text that is no seal."""
    yield run_check("seal key", lambda: _sign(settings))
    yield run_check("time-stamps", lambda: _stamp(settings, clock))


def _sign(settings: ArchiveSettings) -> str:
    signer = open_signer(settings.seal_key)
    if signer is None:
        raise Skipped(f"{SEAL_KEY.name} is not set: days are sealed and chained, and not signed.")
    sign_and_verify(signer, _NO_SEAL)
    return (
        f"it signs. Whoever checks a sealed day needs its fingerprint from you, and not from the bucket: "
        f"{fingerprint_of(signer.public_key())}"
    )


def _stamp(settings: ArchiveSettings, clock: Clock) -> str:
    url = settings.timestamp_url
    if url is None:
        raise Skipped(f"{TIMESTAMP_URL.name} is not set: no authority says before which time a day was sealed.")
    # Random, so that no answer is one that somebody has kept.
    ask_for_timestamp(url, _NO_SEAL + secrets.token_hex().encode(), None, clock)
    return f"{urlsplit(url).hostname} answers with a time-stamp that openssl accepts."
