"""A certificate of the sandbox's own, for those who want to see HTTPS work."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CERTIFICATE = "certificate.pem"
_KEY = "key.pem"


def make_certificate(folder: str) -> str:
    """Writes a self-signed certificate and its key; returns the certificate's path, which is also its authority's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "KrosAI sandbox")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = Path(folder)
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (path / _KEY).write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    (path / _CERTIFICATE).write_bytes(certificate.public_bytes(pem))
    return str(path / _CERTIFICATE)


def server_context(folder: str) -> ssl.SSLContext:
    """With what `make_certificate` wrote."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder) / _CERTIFICATE, Path(folder) / _KEY)
    return context
