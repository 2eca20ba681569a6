"""Translate what boto3 raises into our errors: the one table from S3's codes to error type and advice."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import botocore.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    InvalidRegionError,
    MissingDependencyException,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    RefreshWithMFAUnsupportedError,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.parsers import ResponseParserError

from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, UnfitStore
from ..core.redaction import redact

_T = TypeVar("_T")


class _Meaning(NamedTuple):
    error: type[ArchiveError]
    advice: str = ""


EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
WRONG_REGION = frozenset(
    {"301", "307", "PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed"}
)
CONFLICTS = frozenset({"ConditionalRequestConflict", "OperationAborted"})
EXISTS = frozenset({"412", "PreconditionFailed"})
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_THROTTLED = frozenset({"SlowDown", "Throttling", "TooManyRequests", "RequestLimitExceeded", "429"})
_REFUSED_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure"})
_UNKNOWN_REQUESTS = frozenset({"NotImplemented", "XNotImplemented", "501", "MethodNotAllowed", "405"})

_REGION = "Check AWS_REGION: the bucket is in another one."
_RENEW = _Meaning(ArchiveDenied, "Renew the AWS credentials; of an SSO session by `aws sso login`.")
_REFUSED = _Meaning(ArchiveDenied, "Check the AWS credentials, and what the bucket allows them.")
_REFUSED_BY_KMS = _Meaning(
    ArchiveDenied,
    "Check KROS_KMS_KEY_ID, that the key is enabled, and that its policy allows these credentials kms:GenerateDataKey "
    "and kms:Decrypt.",
)
# A HEAD has no body: its "code" is the HTTP status.
_MEANINGS: Mapping[str, _Meaning] = {
    "AccessDenied": _REFUSED,
    "403": _REFUSED,
    "AllAccessDisabled": _REFUSED,
    "400": _Meaning(ArchiveError, "S3 names no reason here: expired credentials or another region may be one."),
    "RequestTimeTooSkewed": _Meaning(ArchiveDenied, "Set the clock of this machine."),
    "NoSuchBucket": _Meaning(ArchiveDenied, "Check KROS_ARCHIVE_URL: there is no such bucket."),
    **dict.fromkeys(_REFUSED_KEYS, _Meaning(ArchiveDenied, "Check the AWS credentials.")),
    **dict.fromkeys(EXPIRED, _RENEW),
    **dict.fromkeys(WRONG_REGION, _Meaning(ArchiveDenied, _REGION)),
    **dict.fromkeys(EXISTS, _Meaning(ObjectChanged)),
    **dict.fromkeys(CONFLICTS, _Meaning(ArchiveUnavailable)),  # another write is under way; S3 asks for a retry
    **dict.fromkeys(("408", "409", "RequestTimeout"), _Meaning(ArchiveUnavailable)),
    **dict.fromkeys(
        _THROTTLED, _Meaning(ArchiveUnavailable, "Where it lasts, set KROS_DOWNLOAD_WORKERS lower or run fewer days.")
    ),
    **dict.fromkeys(
        _UNKNOWN_REQUESTS,
        _Meaning(UnfitStore, "The S3 server does not know this request: docs/s3-compatibility.md lists servers."),
    ),
}
_SERVER_ERROR = 500
# Where botocore gets credentials from a service, a failure may be over in a minute.
_SERVICES_OF_CREDENTIALS = frozenset({"container-role", "iam-role", "assume-role", "assume-role-with-web-identity"})
_SSO_ERRORS = (SSOError, TokenRetrievalError, getattr(botocore.exceptions, "LoginError", SSOError))
_BAD_CONFIGURATION = (
    ConfigNotFound, ConfigParseError, InfiniteLoopConfigError, InvalidConfigError, InvalidRegionError,
    MissingDependencyException, PartialCredentialsError, ProfileNotFound, RefreshWithMFAUnsupportedError,
    UnknownCredentialError,
)  # fmt: skip
_NOT_TRUSTED = "CERTIFICATE_VERIFY_FAILED"
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
    except _SSO_ERRORS as error:
        raise ArchiveDenied(f"no AWS credentials: {_sentence(error)} Sign in again, by `aws sso login`") from None
    except CredentialRetrievalError as error:
        if error.kwargs.get("provider") in _SERVICES_OF_CREDENTIALS:
            raise ArchiveUnavailable(f"no AWS credentials: {_sentence(error)}") from None
        raise ArchiveDenied(f"no AWS credentials: {_sentence(error)} Check what AWS_PROFILE names.") from None
    except _BAD_CONFIGURATION as error:
        raise ArchiveDenied(f"AWS cannot be used: {_sentence(error)} Check AWS_PROFILE and its like.") from None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ArchiveDenied(
            f"AWS cannot be used: {error.strerror}: {error.filename}. Check AWS_PROFILE and AWS_CA_BUNDLE"
        ) from None
    except RecursionError:  # boto3 follows a redirect that names no region for ever
        raise ArchiveDenied(f"{what}: S3 redirects without end. {_REGION}") from None
    except SSLError as error:
        if _NOT_TRUSTED not in str(error):
            raise ArchiveUnavailable(f"{what}: S3 gives no answer (SSLError)") from None
        raise ArchiveDenied(
            f"{what}: the certificate of the S3 server is not trusted. Name the file of its authority in AWS_CA_BUNDLE"
        ) from None
    except ProxyConnectionError:
        raise ArchiveUnavailable(
            f"{what}: the proxy does not connect to S3. Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        ) from None
    except ResponseParserError:
        raise ArchiveUnavailable(
            f"{what}: what answers is no S3 server. Check AWS_ENDPOINT_URL_S3 and HTTPS_PROXY"
        ) from None
    except (ConnectionClosedError, EndpointConnectionError, ConnectTimeoutError) as error:
        raise ArchiveUnavailable(
            f"{what}: S3 gives no answer ({type(error).__name__}). "
            "Check AWS_ENDPOINT_URL_S3 and AWS_REGION, or the network."
        ) from None
    except BotoCoreError as error:
        raise ArchiveUnavailable(f"{what}: {type(error).__name__}") from None


def _sentence(error: Exception) -> str:
    return f"{redact(str(error)).rstrip('.')}."


def _from_answer(what: str, error: ClientError) -> ArchiveError:
    code, said = code_of(error), error.response.get("Error", {}).get("Message") or ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    unknown = _Meaning(ArchiveUnavailable if status >= _SERVER_ERROR else ArchiveError)
    meaning = _MEANINGS.get(code, unknown)
    if code.endswith("ThrottlingException"):  # S3's, or a KMS key's
        meaning = _Meaning(ArchiveUnavailable)
    elif meaning.error in (ArchiveDenied, ArchiveError) and (code.startswith("KMS.") or "kms" in said.lower()):
        meaning = _REFUSED_BY_KMS
    detail = redact(said)
    message = f"{what}: S3 says {code or status}" + (f" ({detail})" if detail else "")
    return meaning.error(f"{message}. {meaning.advice}" if meaning.advice else message)
