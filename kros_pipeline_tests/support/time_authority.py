"""A time-stamp authority over HTTP: openssl's own `ts`, with certificates of any dates, and with faults."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIG = """\
[tsa]
default_tsa = authority
[authority]
serial = ./serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class TimeAuthority:
    """What a test asks and changes: the URL, the root certificate, and how it answers from now on.

    `answers` is `token`, `html`, `nothing`, `error`, `another` (a true token of another text) or `slowly` (never done).
    """

    folder: Path
    url: str = ""
    answers: str = "token"
    asked: list[bytes] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def token_for(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        self._openssl("ts", "-reply", "-queryfile", "query", "-out", "reply", "-config", "config", *_SIGNER)
        return (self.folder / "reply").read_bytes()

    def query_for(self, text: bytes) -> bytes:
        (self.folder / "text").write_bytes(text)
        self._openssl("ts", "-query", "-data", "text", "-sha256", "-cert", "-out", "other")
        return (self.folder / "other").read_bytes()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=30)


_SIGNER = ("-signer", "signer.pem", "-inkey", "signer.key", "-chain", "root.pem")


def _write_certificates(folder: Path, ends_at: datetime) -> None:
    begins_at = datetime.now(UTC) - timedelta(days=30)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "signer")}
    names = {
        name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of the tests")])
        for name in ("root", "signer")
    }
    for name in ("root", "signer"):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["root"])
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins_at)
            .not_valid_after(ends_at)
            .add_extension(x509.BasicConstraints(ca=name == "root", path_length=None), critical=True)
        )
        if name == "signer":
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(usage, critical=True)
        certificate = builder.sign(keys["root"], hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    key = keys["signer"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "signer.key").write_bytes(key)


@contextmanager
def time_authority(*, certificates_end_in: timedelta = timedelta(days=30)) -> Iterator[TimeAuthority]:
    """Starts an authority on this machine, and stops it."""
    with tempfile.TemporaryDirectory(prefix="kros-authority-") as name:
        authority = TimeAuthority(Path(name))
        _write_certificates(authority.folder, datetime.now(UTC) + certificates_end_in)
        (authority.folder / "config").write_text(_CONFIG)
        (authority.folder / "serial").write_text("01\n")
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    authority.asked.append(query)
                    body = self._body(query)
                self.send_response(500 if authority.answers == "error" else 200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.end_headers()
                self.wfile.write(body)
                while authority.answers == "slowly" and not authority.ends.wait(0.05):
                    try:
                        self.wfile.write(b"\0")
                    except OSError:
                        return

            def _body(self, query: bytes) -> bytes:
                if authority.answers in ("nothing", "slowly"):
                    return b""
                if authority.answers == "html":
                    return b"<html><body>Please log in</body></html>"
                return authority.token_for(
                    authority.query_for(b"another text") if authority.answers == "another" else query
                )

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
        try:
            yield authority
        finally:
            authority.ends.set()
            server.shutdown()
            server.server_close()


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element of DER begins and ends."""
    size, begin = der[at + 1], at + 2
    if size & 0x80:
        begin += size & 0x7F
        size = int.from_bytes(der[at + 2 : begin], "big")
    return begin, begin + size


def _der(tag: int, content: bytes) -> bytes:
    size = len(content).to_bytes(2, "big")
    return bytes([tag, 0x82]) + size + content if len(content) > 127 else bytes([tag, size[1]]) + content


def with_status_text(reply: bytes, text: str) -> bytes:
    """The same answer with a text of anybody's in its status, which no signature covers."""
    answer_begin, _ = _content(reply, 0)
    begin, end = _content(reply, answer_begin)
    status = reply[begin:end] + _der(0x30, _der(0x0C, text.encode()))
    return _der(0x30, _der(0x30, status) + reply[end:])


def wait_until(moment: datetime) -> None:
    """Waits until a certificate has expired: openssl reads the system's clock."""
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
