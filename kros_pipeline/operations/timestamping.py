"""Time-stamps (RFC 3161): ask an authority to say that a seal existed, and have openssl judge its answer.

Only the seal's hash leaves the machine. What is kept is the request, the answer byte for byte, and the certificates in
it. Whether the authority itself is to be trusted is for whoever checks the seal to decide.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from ..core.clock import Clock
from ..core.errors import TimestampFailed

_CONNECT_SECONDS, _READ_SECONDS, _TOTAL_SECONDS = 5.0, 20.0, 30.0
_OPENSSL_SECONDS = 20.0
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What is kept of a time-stamp: request and answer in DER, and the certificates of the answer in PEM."""

    query: bytes
    reply: bytes
    certificates: bytes


def ask_for_timestamp(url: str, body: bytes, query: bytes | None, clock: Clock) -> Timestamp:
    """Have an authority time-stamp a text. Raises `TimestampFailed`, which names the host only.

    `query` is the request of an earlier try, whose answer was not kept.
    """
    with tempfile.TemporaryDirectory(prefix="kros-") as name:
        folder = Path(name)
        (folder / "body").write_bytes(body)
        if query is None:
            _openssl(folder, "ts", "-query", "-data", "body", "-sha256", "-cert", "-out", "query")
            query = (folder / "query").read_bytes()
        (folder / "query").write_bytes(query)
        reply = _post(url, query, clock)
        (folder / "reply").write_bytes(reply)
        try:
            _openssl(folder, "ts", "-reply", "-in", "reply", "-token_out", "-out", "token")
            _openssl(folder, "pkcs7", "-inform", "DER", "-in", "token", "-print_certs", "-out", "certificates")
            trusted = ("-CAfile", "certificates", "-partial_chain")
            for asked in (("-queryfile", "query"), ("-data", "body")):
                _openssl(folder, "ts", "-verify", *asked, "-in", "reply", *trusted)
        except _Refused as error:
            host = urlsplit(url).hostname
            raise TimestampFailed(f"what the time-stamp authority {host} answered is no token: {error}") from None
        return Timestamp(query, reply, (folder / "certificates").read_bytes())


def _post(url: str, query: bytes, clock: Clock) -> bytes:
    """Send the request, and return the body of the answer, which is limited in size and in time."""
    host, ends_at = urlsplit(url).hostname, clock.monotonic() + _TOTAL_SECONDS
    try:
        with requests.post(
            url,
            data=query,
            headers={"Content-Type": "application/timestamp-query"},
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            stream=True,
            allow_redirects=False,
        ) as answer:
            if answer.status_code != requests.codes.ok:
                raise TimestampFailed(f"the time-stamp authority {host} answered {answer.status_code}")
            reply = bytearray()
            for piece in answer.iter_content(1):  # a longer piece would be waited for, past the end of the time
                reply += piece
                if len(reply) > _MAX_ANSWER_BYTES or clock.monotonic() > ends_at:
                    raise TimestampFailed(f"the answer of the time-stamp authority {host} has no end")
            return bytes(reply)
    except (requests.RequestException, ValueError) as error:
        raise TimestampFailed(f"the time-stamp authority {host} gave no answer ({type(error).__name__})") from None


class _Refused(Exception):
    """openssl does not accept a file."""


def _openssl(folder: Path, *arguments: str) -> None:
    try:
        subprocess.run(  # noqa: S603 - constants, and files of our own
            ["openssl", *arguments],  # noqa: S607
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=_OPENSSL_SECONDS,
        )
    except subprocess.CalledProcessError:
        raise _Refused(f"openssl {arguments[0]} {arguments[1]} does not accept it") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TimestampFailed(f"openssl cannot be run on this machine ({type(error).__name__})") from None
