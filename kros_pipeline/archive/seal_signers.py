"""What signs seals: a private key in a PEM file, or one in AWS KMS that never leaves it.

A signature is ECDSA on the curve P-256 over SHA-256, in DER: what `openssl dgst -sha256 -verify` checks. Each is
verified here before it is kept.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from ..core.errors import SigningFailed
from .s3_clients import open_session

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_ALGORITHM = ec.ECDSA(hashes.SHA256())
_MAX_RAW_BYTES = 4_096  # KMS hashes a message of at most this size itself; of a longer one it takes the hash


class Signer(Protocol):
    """Signs seals. Every method raises `SigningFailed`."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""

    def sign(self, body: bytes) -> bytes:
        """Return the signature of a text, in DER."""


class PemSigner:
    """A private key in a PEM file without a passphrase. The file is read when something is signed."""

    def __init__(self, path: str):
        self._path = path

    def _load(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = load_pem_private_key(Path(self._path).read_bytes(), password=None)
        except OSError as error:
            raise SigningFailed(f"KROS_SEAL_KEY: {self._path} cannot be read ({error.strerror})") from None
        except (ValueError, TypeError):  # a passphrase is needed; no PEM
            raise SigningFailed(f"KROS_SEAL_KEY: {self._path} is no private key in PEM without a passphrase") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SigningFailed(f"KROS_SEAL_KEY: {self._path} is no key of the elliptic curve P-256")
        _require_p256(key.public_key(), self._path)
        return key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._load().public_key()

    def sign(self, body: bytes) -> bytes:
        """Return the signature of a text, in DER."""
        return self._load().sign(body, _ALGORITHM)


class KmsSigner:
    """A key in AWS KMS: of the kind ECC_NIST_P256, for signing. `open_client` opens boto3's client."""

    def __init__(self, key_id: str, open_client: "Callable[[], KMSClient]"):
        self._key_id, self._open_client = key_id, open_client
        self._opened: KMSClient | None = None
        self._public_key: ec.EllipticCurvePublicKey | None = None

    @property
    def _client(self) -> "KMSClient":
        if self._opened is None:
            try:
                self._opened = self._open_client()
            except (BotoCoreError, ValueError) as error:
                raise SigningFailed(f"KROS_SEAL_KEY: no client of KMS can be opened ({_code_of(error)})") from None
        return self._opened

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key; KMS is asked once."""
        if self._public_key is None:
            try:
                der = self._client.get_public_key(KeyId=self._key_id)["PublicKey"]
                key = load_der_public_key(der)
            except (ClientError, BotoCoreError) as error:
                raise SigningFailed(f"KROS_SEAL_KEY: KMS does not show its public key ({_code_of(error)})") from None
            except ValueError:
                raise SigningFailed("KROS_SEAL_KEY: what KMS shows is no public key") from None
            self._public_key = _require_p256(key, "the key in KMS")
        return self._public_key

    def sign(self, body: bytes) -> bytes:
        """Return the signature of a text, in DER."""
        is_raw = len(body) <= _MAX_RAW_BYTES
        try:
            return self._client.sign(
                KeyId=self._key_id,
                Message=body if is_raw else hashlib.sha256(body).digest(),
                MessageType="RAW" if is_raw else "DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",
            )["Signature"]
        except (ClientError, BotoCoreError) as error:
            raise SigningFailed(f"KROS_SEAL_KEY: KMS does not sign ({_code_of(error)})") from None


def open_signer(name: str | None) -> Signer | None:
    """Return what signs with the key that `KROS_SEAL_KEY` names; None where it names none. Nothing is opened yet."""
    if name is None:
        return None
    if not name.startswith(("arn:", "alias/")):
        return PemSigner(name)
    return KmsSigner(name, lambda: _open_kms(name))


def _open_kms(name: str) -> "KMSClient":
    """Open the client of KMS, in the region of the key's ARN or of the settings."""
    session = open_session()
    region = name.split(":")[3] if name.startswith("arn:") else session.get_config_variable("region")
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
    return boto3.Session(botocore_session=session).client("kms", region_name=region, config=config)


def sign_and_verify(signer: Signer, body: bytes) -> bytes:
    """Sign a text, and verify the signature as a stranger will. Raises `SigningFailed`."""
    signature = signer.sign(body)
    try:
        signer.public_key().verify(signature, body, _ALGORITHM)
    except InvalidSignature:
        raise SigningFailed("KROS_SEAL_KEY: the signature that came back is not of the seal; it was not kept") from None
    return signature


def fingerprint_of(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key's DER, in hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key in PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _require_p256(key: object, what: str) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SigningFailed(f"KROS_SEAL_KEY: {what} is no key of the elliptic curve P-256")
    return key


def _code_of(error: ClientError | BotoCoreError | ValueError) -> str:
    return str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else type(error).__name__
