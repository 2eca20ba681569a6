"""S3's error codes, as our errors: one table says what each code means and what a person should check."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidConfigError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged
from ..core.redaction import redact

NO_CREDENTIALS = "no AWS credentials were found (AWS_ACCESS_KEY_ID, AWS_PROFILE or a role)"


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[ArchiveError]
    advice: str = ""


_CREDENTIALS = "Check the AWS credentials."
_PERMISSIONS = "Check the AWS credentials, and what the bucket allows them."
_REGION = "Check AWS_REGION: the bucket is in another one."
_MEANINGS: Mapping[str, _Meaning] = {
    "AccessDenied": _Meaning(ArchiveDenied, _PERMISSIONS),
    "403": _Meaning(ArchiveDenied, _PERMISSIONS),  # a HEAD has no body, and so only a status
    "InvalidAccessKeyId": _Meaning(ArchiveDenied, _CREDENTIALS),
    "SignatureDoesNotMatch": _Meaning(ArchiveDenied, _CREDENTIALS),
    "ExpiredToken": _Meaning(ArchiveDenied, "Renew the AWS credentials."),
    "NoSuchBucket": _Meaning(ArchiveDenied, "Check KROS_ARCHIVE_URL: there is no such bucket."),
    "PermanentRedirect": _Meaning(ArchiveDenied, _REGION),
    "AuthorizationHeaderMalformed": _Meaning(ArchiveDenied, _REGION),
    "301": _Meaning(ArchiveDenied, _REGION),
    "PreconditionFailed": _Meaning(ObjectChanged),
    "412": _Meaning(ObjectChanged),
    "ConditionalRequestConflict": _Meaning(ArchiveUnavailable),  # 409: another write was under way; S3 asks for a retry
    "SlowDown": _Meaning(ArchiveUnavailable),
}
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_CONDITION_FAILED = {"PreconditionFailed", "412", "NoSuchKey"}


def code_of(error: ClientError) -> str:
    """Return S3's code, or the HTTP status where there is no code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Return whether S3 says that there is no such object. 403 and throttling do not say that."""
    return code_of(error) in _ABSENT


def is_condition_failed(error: ClientError) -> bool:
    """Return whether a conditional PUT found another object than it expected."""
    return code_of(error) in _CONDITION_FAILED


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn what boto3 raises into an `ArchiveError` that names `what` (a key, a bucket) and keeps S3's message."""
    try:
        yield
    except ClientError as error:
        raise _translate(what, error) from None
    except NoCredentialsError:
        raise ArchiveDenied(NO_CREDENTIALS) from None
    except (ProfileNotFound, PartialCredentialsError, InvalidConfigError) as error:
        raise ArchiveDenied(f"AWS cannot be used: {redact(error)}. Check AWS_PROFILE and its like.") from None
    except (ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError) as error:
        raise ArchiveUnavailable(
            f"{what}: S3 gives no answer ({type(error).__name__}). Check AWS_ENDPOINT_URL_S3 and AWS_REGION, or the "
            "network."
        ) from None
    except BotoCoreError as error:
        raise ArchiveUnavailable(f"{what}: {type(error).__name__}") from None


def _translate(what: str, error: ClientError) -> ArchiveError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    meaning = _MEANINGS.get(code, _Meaning(ArchiveUnavailable if status >= 500 else ArchiveError))
    message = redact(error.response.get("Error", {}).get("Message", ""))
    sentence = f"{what}: S3 says {code or status}" + (f" ({message})" if message else "")
    return meaning.error(f"{sentence}. {meaning.advice}" if meaning.advice else sentence)
