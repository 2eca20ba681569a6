"""Create objects in S3 with one hash of the body, and read them to hash them.

The signature and the checksum that S3 stores are both made of that one hash.

Other clients hash a body for the signature and again for the checksum, after the step has hashed it already: a
millisecond of CPU each time for 2 MB. Here botocore signs with the digest that is known, and pyreqwest (Rust) sends the
bytes from where they lie, without a copy and without the GIL.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.session import Session
from botocore.utils import get_environ_proxies
from pyreqwest.client import SyncClient
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.response import SyncResponse
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ..core.http_client import describe_failure, new_client_builder
from .s3_clients import CA_BUNDLE_OF_REQUESTS
from .s3_errors import CONFLICTS, EXPIRED, WRONG_REGION, add_repetitions, code_of
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_ATTEMPTS = 5
_LONGEST_PAUSE_SECONDS = 20.0
_WHOLE_REQUEST, _WHOLE_READING = timedelta(seconds=300), timedelta(hours=1)
_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()
_TEMPORARY_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
# An expired token may have been renewed since the request was signed.
_TEMPORARY_CODES = CONFLICTS | EXPIRED | {"RequestTimeout", "SlowDown"}
_REGION_HEADER = "x-amz-bucket-region"
pause = wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE_SECONDS)


_Answer = TypeVar("_Answer")


class NoAnswer(Exception):
    """S3 has not answered, or asks to try again: nobody knows whether the object was written.

    `refusal` is what S3 answered, if it did.
    """

    def __init__(self, what: str, refusal: ClientError | None = None, retry_after: str | None = None):
        super().__init__(what)
        self.refusal = refusal
        self.retry_after_seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


class S3Bodies:
    """Sends PUTs to one bucket, create-only, and reads objects to hash them. Threads share the connections.

    `on_request` is called with method and URL before each request. Endpoint, region, credentials, proxies and
    certificates are botocore's.
    """

    def __init__(
        self, settings: ArchiveSettings, session: Session, client: "S3Client", on_request: Callable[[str, str], None]
    ):
        self._on_request = on_request
        self._session = session
        self._region = client.meta.region_name
        signed_url = client.generate_presigned_url("put_object", Params={"Bucket": settings.bucket, "Key": "key"})
        self._url = signed_url.partition("?")[0].removesuffix("key")  # as boto3 addresses the bucket
        self._client = _open_client(self._url, session, settings.connections)
        self._encryption = {
            name: value
            for name, value in (
                ("x-amz-server-side-encryption", settings.sse),
                ("x-amz-server-side-encryption-aws-kms-key-id", settings.kms_key_id),
            )
            if value
        }

    def create(
        self, full_key: str, body: memoryview, *, sha256: str, metadata: Mapping[str, str], content_type: str
    ) -> str:
        """Create an object, and return its ETag; an empty text where S3 names none.

        Raises botocore's `ClientError` where S3 refuses, with the number of repeated requests as botocore has it, and
        `NoAnswer` where S3 never answered.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {
            "content-type": content_type,
            "if-none-match": "*",
            "x-amz-checksum-sha256": checksum,
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
            **self._encryption,
        }
        return self._try_again(partial(self._put, self._url_of(full_key), headers, body, sha256))

    def digest(self, full_key: str) -> tuple[str, int]:
        """Read an object, and return its SHA-256 and size in bytes. Raises as `create` does.

        It takes a quarter less CPU than to read it by boto3: the pieces are hashed where they were received.
        """
        return self._try_again(partial(self._read, self._url_of(full_key)))

    def _url_of(self, full_key: str) -> str:
        return self._url + quote(full_key, safe="/-_.~")

    def _try_again(self, send: Callable[[], _Answer]) -> _Answer:
        attempts = Retrying(
            retry=retry_if_exception_type(NoAnswer),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=_wait_as_asked,
            reraise=True,
        )
        try:
            return attempts(send)
        except ClientError as error:
            add_repetitions(error, attempts.statistics["attempt_number"] - 1)
            raise
        except NoAnswer as error:
            if error.refusal is None:
                raise
            raise error.refusal from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put(self, url: str, headers: Mapping[str, str], body: memoryview, sha256: str) -> str:
        signed = self._sign("PUT", url, headers, sha256)
        self._on_request("PUT", url)
        with _without_urls():
            response = self._client.put(url).headers(signed).body_bytes(body).build().send()
        if response.status == 200:
            return response.get_header("etag") or ""
        raise self._refusal(response)

    def _read(self, url: str) -> tuple[str, int]:
        signed = self._sign("GET", url, {}, _SHA256_OF_NOTHING)
        self._on_request("GET", url)
        request = self._client.get(url).headers(signed).timeout(_WHOLE_READING).streamed_read_buffer_limit(0)
        digest, size_bytes = hashlib.sha256(), 0
        with _without_urls(), request.build_streamed() as response:
            if response.status != 200:
                raise self._refusal(response)
            while (piece := response.body_reader.read_chunk()) is not None:
                digest.update(piece)
                size_bytes += len(piece)
        return digest.hexdigest(), size_bytes

    def _refusal(self, response: SyncResponse) -> Exception:
        """Return the error that an answer without success stands for: `NoAnswer` where it may not last."""
        refusal, retry_after = _read_refusal(response)
        code = code_of(refusal)
        if (
            self._learn_region(refusal, response.get_header(_REGION_HEADER))
            or code in _TEMPORARY_CODES
            or response.status in _TEMPORARY_STATUSES
        ):
            return NoAnswer(f"S3 says {code}", refusal, retry_after)
        return refusal

    def _learn_region(self, refusal: ClientError, named: str | None) -> bool:
        """Sign for the region that S3 names, where it says that the bucket is in another one; boto3 does the same."""
        region = named or cast(Any, refusal.response["Error"]).get("Region")
        if code_of(refusal) not in WRONG_REGION or not region or region == self._region:
            return False
        self._region = region
        return True

    def _sign(self, method: str, url: str, headers: Mapping[str, str], sha256: str) -> dict[str, str]:
        """Sign with credentials as they are now: those of a role are renewed before they expire."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        request = AWSRequest(method, url, headers=dict(headers))
        _KnownDigestAuth(credentials.get_frozen_credentials(), "s3", self._region, sha256).add_auth(request)
        return dict(request.headers.items())


@contextmanager
def _without_urls() -> Iterator[None]:
    try:
        yield
    except PyreqwestError as error:  # its text has the URL
        raise NoAnswer(f"S3 gives no answer ({describe_failure(error)})") from None


class _KnownDigestAuth(S3SigV4Auth):
    """botocore's signer, which takes the body's digest instead of the body."""

    def __init__(self, credentials: ReadOnlyCredentials, service: str, region: str, sha256: str):
        super().__init__(credentials, service, region)
        self._sha256 = sha256

    def payload(self, request: AWSRequest) -> str:
        """Return the digest. Called by the base class."""
        return self._sha256


def _open_client(url: str, session: Session, connections: int) -> SyncClient:
    # botocore's own rules: `requests` reads other variables, too, and NO_PROXY in another way.
    bundle = session.get_config_variable("ca_bundle") or session.get_config_variable(CA_BUNDLE_OF_REQUESTS)
    builder = new_client_builder(
        connections,
        proxy=get_environ_proxies(url).get(url.partition(":")[0]),
        ca_bundle=Path(bundle).read_bytes() if bundle else None,
    )
    return builder.max_connections(connections).timeout(_WHOLE_REQUEST).build()


def _read_refusal(response: SyncResponse) -> tuple[ClientError, str | None]:
    """Return the error that an answer other than 200 stands for, and the pause that S3 asks for."""
    error: dict[str, str] = {"Code": str(response.status)}
    try:
        body = ElementTree.fromstring(bytes(response.bytes()))  # noqa: S314 - S3's own answer
        error |= {name: text for name in ("Code", "Message", "Region") if (text := body.findtext(name))}
    except (ElementTree.ParseError, PyreqwestError):
        pass  # a gateway's page: the status says what there is to say
    answer: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": response.status}}
    return ClientError(answer, "PutObject"), response.get_header("retry-after")


def _wait_as_asked(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after_seconds if isinstance(error, NoAnswer) else 0.0
    return max(min(asked, _LONGEST_PAUSE_SECONDS), pause(state))
