"""Make a certificate for the sandbox's HTTPS, signed by an authority of its own.

Two certificates, not one self-signed: OpenSSL accepts a server certificate that is its own authority, rustls (and with
it pyreqwest) does not. The extensions are those that strict verification requires (RFC 5280): Python 3.13 sets
`VERIFY_X509_STRICT` by default and refuses a certificate without an Authority Key Identifier.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_CERTIFICATE = "certificate.pem"
_KEY = "key.pem"
_AUTHORITY = "KrosAI sandbox authority"
_SERVER = "KrosAI sandbox"


def make_certificate(folder: str) -> str:
    """Write the server's certificate, its authority's behind it, and the server's key to `folder`.

    Valid for one day. Returns the path of the file that a client must trust.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    server_key, authority_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificates = (_server_certificate(server_key, authority_key), _authority_certificate(authority_key))
    path = Path(folder)
    (path / _KEY).write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (path / _CERTIFICATE).write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates))
    return str(path / _CERTIFICATE)


def server_context(folder: str) -> ssl.SSLContext:
    """Load what `make_certificate` wrote into a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder) / _CERTIFICATE, Path(folder) / _KEY)
    return context


def _server_certificate(key: ec.EllipticCurvePrivateKey, authority_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        _builder(_SERVER, key, authority_key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    may_sign_certificates = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        _builder(_AUTHORITY, key, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(may_sign_certificates, critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, authority_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """Begin a certificate of `key` for `name`, with what both kinds share."""
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _AUTHORITY)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
