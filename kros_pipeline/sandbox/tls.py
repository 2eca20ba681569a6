"""A certificate of the sandbox's own, for those who want to see HTTPS work."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CERTIFICATE = "certificate.pem"
_KEY = "key.pem"
_AUTHORITY = "KrosAI sandbox authority"


def make_certificate(folder: str) -> str:
    """Writes a certificate with its authority's behind it, and its key; returns the path of what is to be trusted.

    An authority of its own: OpenSSL takes a certificate that signs itself, rustls (and with it obstore) does not.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, signed_by: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> bytes:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _AUTHORITY)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True
            )
            .sign(signed_by, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    key, authority = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    path = Path(folder)
    (path / _KEY).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (path / _CERTIFICATE).write_bytes(
        certificate("KrosAI sandbox", key, authority, is_authority=False)
        + certificate(_AUTHORITY, authority, authority, is_authority=True)
    )
    return str(path / _CERTIFICATE)


def server_context(folder: str) -> ssl.SSLContext:
    """With what `make_certificate` wrote."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder) / _CERTIFICATE, Path(folder) / _KEY)
    return context
