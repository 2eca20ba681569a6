"""The preflight of the seals: whether the key signs, and whether openssl is there for time-stamps."""

import shutil
from collections.abc import Iterator

from ..archive.seal_signers import open_signer, sign_and_verify
from ..archive.settings import SEAL_KEY, TIMESTAMP_URL, ArchiveSettings
from ..core.errors import LocalFault
from .preflight_result import PreflightResult, Skipped, run_check

_PROBE = b"kros_pipeline: preflight\n"


def check_seals(settings: ArchiveSettings) -> Iterator[PreflightResult]:
    """Yield the checks of the seals. Nothing is kept, and the time-stamp authority is not asked: many charge for it."""
    yield run_check("seal key", lambda: _try_key(settings.seal_key))
    yield run_check("time-stamps", lambda: _find_openssl(settings.timestamp_url))


def _try_key(name: str | None) -> str:
    signer = open_signer(name)
    if signer is None:
        raise Skipped(f"{SEAL_KEY.name} is not set: days are sealed without a signature.")
    sign_and_verify(signer, _PROBE)
    return "it signs, and the signature can be verified. Nothing was sealed."


def _find_openssl(url: str | None) -> str:
    if url is None:
        raise Skipped(f"{TIMESTAMP_URL.name} is not set: seals get no time-stamp.")
    if shutil.which("openssl") is None:
        raise LocalFault(f"{TIMESTAMP_URL.name} is set, and openssl is not installed on this machine: install it.")
    return "openssl is there. The authority was not asked: the next seal is the first request."
