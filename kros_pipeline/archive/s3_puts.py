"""Create objects in S3 with one hash of the body: the signature and the checksum that S3 stores are both made of it.

Other clients hash a body for the signature and again for the checksum, after the step has hashed it already: a
millisecond of CPU each time for 2 MB. Here botocore signs with the digest that is known, and pyreqwest (Rust) sends the
bytes from where they lie, without a copy and without the GIL.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
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
_WHOLE_REQUEST = timedelta(seconds=300)
_TEMPORARY_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
# An expired token may have been renewed since the request was signed.
_TEMPORARY_CODES = CONFLICTS | EXPIRED | {"RequestTimeout", "SlowDown"}
_REGION_HEADER = "x-amz-bucket-region"
pause = wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE_SECONDS)


class NoAnswer(Exception):
    """S3 has not answered, or asks to try again: nobody knows whether the object was written.

    `refusal` is what S3 answered, if it did.
    """

    def __init__(self, what: str, refusal: ClientError | None = None, retry_after: str | None = None):
        super().__init__(what)
        self.refusal = refusal
        self.retry_after_seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


class S3Puts:
    """Sends PUTs to one bucket, create-only. Threads share the connections.

    `on_request` is called before each request. Endpoint, region, credentials, proxies and certificates are botocore's.
    """

    def __init__(self, settings: ArchiveSettings, session: Session, client: "S3Client", on_request: Callable[[], None]):
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
        url = self._url + quote(full_key, safe="/-_.~")
        attempts = Retrying(
            retry=retry_if_exception_type(NoAnswer),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=_wait_as_asked,
            reraise=True,
        )
        try:
            return attempts(self._put, url, headers, body, sha256)
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
        signed = self._sign(url, headers, sha256)
        self._on_request()
        try:
            response = self._client.put(url).headers(signed).body_bytes(body).build().send()
        except PyreqwestError as error:  # its text has the URL
            raise NoAnswer(f"S3 gives no answer ({describe_failure(error)})") from None
        if response.status == 200:
            return response.get_header("etag") or ""
        refusal, retry_after = _read_refusal(response)
        code = code_of(refusal)
        if (
            self._learn_region(refusal, response.get_header(_REGION_HEADER))
            or code in _TEMPORARY_CODES
            or response.status in _TEMPORARY_STATUSES
        ):
            raise NoAnswer(f"S3 says {code}", refusal, retry_after)
        raise refusal

    def _learn_region(self, refusal: ClientError, named: str | None) -> bool:
        """Sign for the region that S3 names, where it says that the bucket is in another one; boto3 does the same."""
        region = named or cast(Any, refusal.response["Error"]).get("Region")
        if code_of(refusal) not in WRONG_REGION or not region or region == self._region:
            return False
        self._region = region
        return True

    def _sign(self, url: str, headers: Mapping[str, str], sha256: str) -> dict[str, str]:
        """Sign with credentials as they are now: those of a role are renewed before they expire."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        request = AWSRequest("PUT", url, headers=dict(headers))
        _KnownDigestAuth(credentials.get_frozen_credentials(), "s3", self._region, sha256).add_auth(request)
        return dict(request.headers.items())


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
