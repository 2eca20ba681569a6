"""Translate what boto3 raises into our errors: the one table from S3's codes to error type and advice."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

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

_T = TypeVar("_T")


class _Meaning(NamedTuple):
    error: type[ArchiveError]
    advice: str = ""


_CREDENTIALS = "Check the AWS credentials."
_PERMISSIONS = "Check the AWS credentials, and what the bucket allows them."
_REGION = "Check AWS_REGION: the bucket is in another one."
_BUCKET = "Check KROS_ARCHIVE_URL: there is no such bucket."

# A HEAD has no body: its "code" is the HTTP status.
_MEANINGS: Mapping[str, _Meaning] = {
    "AccessDenied": _Meaning(ArchiveDenied, _PERMISSIONS),
    "403": _Meaning(ArchiveDenied, _PERMISSIONS),
    "InvalidAccessKeyId": _Meaning(ArchiveDenied, _CREDENTIALS),
    "SignatureDoesNotMatch": _Meaning(ArchiveDenied, _CREDENTIALS),
    "ExpiredToken": _Meaning(ArchiveDenied, "Renew the AWS credentials."),
    "NoSuchBucket": _Meaning(ArchiveDenied, _BUCKET),
    "PermanentRedirect": _Meaning(ArchiveDenied, _REGION),
    "301": _Meaning(ArchiveDenied, _REGION),
    "AuthorizationHeaderMalformed": _Meaning(ArchiveDenied, _REGION),
    "PreconditionFailed": _Meaning(ObjectChanged),
    "412": _Meaning(ObjectChanged),
    "ConditionalRequestConflict": _Meaning(ArchiveUnavailable),  # 409: another write is under way; S3 asks for a retry
    "SlowDown": _Meaning(ArchiveUnavailable),
}
_SERVER_ERROR = 500

CONFLICTS = frozenset({"ConditionalRequestConflict", "OperationAborted"})
EXISTS = frozenset({"412", "PreconditionFailed"})
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
NO_CREDENTIALS = "no AWS credentials were found (AWS_ACCESS_KEY_ID, AWS_PROFILE or a role)"


def code_of(error: ClientError) -> str:
    """Return S3's code for an error, or the HTTP status where the answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def was_repeated(error: ClientError) -> bool:
    """Return whether a request was sent more than once: an earlier one may have acted, and its answer was lost."""
    return error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


def add_repetitions(error: ClientError, count: int) -> None:
    """Note in an error that its request was sent `count` times more than botocore counted."""
    metadata = error.response["ResponseMetadata"]
    metadata["RetryAttempts"] = metadata.get("RetryAttempts", 0) + count


def is_conflict(error: BaseException) -> bool:
    """Return whether S3 answers that another write of the object is under way, and asks to try again."""
    return isinstance(error, ClientError) and code_of(error) in CONFLICTS


def none_if(codes: Collection[str], request: Callable[[], _T]) -> _T | None:
    """Send a request, and return its answer; None where S3 answers one of `codes`."""
    try:
        return request()
    except ClientError as error:
        if code_of(error) in codes:
            return None
        raise


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise our own error for what boto3 raises inside. `what` is the object that the message names."""
    try:
        yield
    except ClientError as error:
        raise _from_answer(what, error) from None
    except NoCredentialsError:
        raise ArchiveDenied(NO_CREDENTIALS) from None
    except (ProfileNotFound, PartialCredentialsError, InvalidConfigError) as error:
        raise ArchiveDenied(f"AWS cannot be used: {redact(error)}. Check AWS_PROFILE and its like.") from None
    except (ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError) as error:
        raise ArchiveUnavailable(
            f"{what}: S3 gives no answer ({type(error).__name__}). "
            "Check AWS_ENDPOINT_URL_S3 and AWS_REGION, or the network."
        ) from None
    except BotoCoreError as error:
        raise ArchiveUnavailable(f"{what}: {type(error).__name__}") from None


def _from_answer(what: str, error: ClientError) -> ArchiveError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    unknown = _Meaning(ArchiveUnavailable if status >= _SERVER_ERROR else ArchiveError)
    meaning = _MEANINGS.get(code, unknown)
    detail = redact(error.response.get("Error", {}).get("Message", ""))
    message = f"{what}: S3 says {code or status}" + (f" ({detail})" if detail else "")
    return meaning.error(f"{message}. {meaning.advice}" if meaning.advice else message)
