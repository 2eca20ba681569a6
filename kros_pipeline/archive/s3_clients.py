"""Open botocore's session and boto3's client. `S3Bodies` takes region, address and credentials from them, too."""

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.credentials import CredentialResolver, Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.session import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from ..core.errors import ArchiveDenied
from ..core.settings import is_loopback
from .s3_errors import EXPIRED, NO_CREDENTIALS
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CA_BUNDLE_OF_REQUESTS = "ca_bundle_of_requests"
# boto3 reads AWS_DEFAULT_REGION only (boto3#3620), and other AWS tools AWS_REGION.
_VARIABLES = {
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
    "default_region": (None, "AWS_DEFAULT_REGION", None, None),
    CA_BUNDLE_OF_REQUESTS: (None, "REQUESTS_CA_BUNDLE", None, None),
}
_FIRST_REGION = "us-east-1"
_REGION_HEADER = "x-amz-bucket-region"
_MAX_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2
_EXPIRED = EXPIRED | {"400"}


def open_session() -> Session:
    """Open a session that reads settings the AWS way, `AWS_REGION` among them; an empty region counts as not set."""
    session = Session(session_vars=_VARIABLES)
    if session.get_config_variable("region") == "":
        named = session.get_config_variable("default_region") or session.get_scoped_config().get("region")
        session.set_config_variable("region", named or _FIRST_REGION)
    providers = session.get_component("credential_provider")
    session.register_component("credential_provider", _PatientProviders(providers))
    return session


class _PatientProviders:
    """botocore's chain of providers, whose credentials are refreshed once more where they have just expired."""

    def __init__(self, providers: CredentialResolver):
        self._providers = providers

    def load_credentials(self) -> "Credentials | _PatientCredentials | None":
        """Return the first credentials that a provider has. Called by botocore."""
        found = self._providers.load_credentials()
        return _PatientCredentials(found) if isinstance(found, RefreshableCredentials) else found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._providers, name)


class _PatientCredentials:
    """Credentials that may expire between the provider's answer and botocore's look at it: they are asked again."""

    def __init__(self, credentials: RefreshableCredentials):
        self._credentials = credentials

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the credentials as they are now. Called by botocore for each request."""
        attempts = Retrying(
            retry=retry_if_exception_type(RuntimeError),
            stop=stop_after_attempt(_MAX_ATTEMPTS),
            wait=wait_fixed(_PAUSE_SECONDS),
            reraise=True,
        )
        try:
            return attempts(self._credentials.get_frozen_credentials)
        except RuntimeError as error:  # botocore's: what the provider gives is expired already
            raise CredentialRetrievalError(provider=self._credentials.method, error_msg=str(error)) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._credentials, name)


def open_boto3(settings: ArchiveSettings, session: Session) -> "S3Client":
    """Open the client of S3 in the bucket's own region. Raises `ArchiveDenied` where no credentials are found.

    On AWS the bucket is asked once for its region: a region that is not set, or is another one, is no reason to fail.
    """
    if session.get_credentials() is None:
        raise ArchiveDenied(NO_CREDENTIALS)
    boto = boto3.Session(botocore_session=session)
    region = session.get_config_variable("region") or _FIRST_REGION
    client = _open(settings, boto, region, "path")
    if not _is_aws(client):
        return client
    refuse_plain_http(client.meta.endpoint_url)
    own_region = _find_region(client, settings.bucket) or region
    # AWS wants new buckets to be addressed by a host of their own; its certificates do not cover names with dots.
    return _open(settings, boto, own_region, "path" if "." in settings.bucket else "virtual")


def _retry_expired(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return the pause before a request is signed and sent again: its token has expired, and may have been renewed.

    A HEAD says 400 only. Called by botocore after each answer; None leaves the decision to it.
    """
    code = response[1].get("Error", {}).get("Code") if response is not None else None
    return _PAUSE_SECONDS * attempts if code in _EXPIRED and attempts < _MAX_ATTEMPTS else None


def _open(
    settings: ArchiveSettings, boto: boto3.Session, region: str, addressing_style: Literal["path", "virtual"]
) -> "S3Client":
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=settings.connections,
        retries={"mode": "standard", "max_attempts": _MAX_ATTEMPTS},
        s3={"addressing_style": addressing_style},
    )
    try:
        client = boto.client("s3", region_name=region, config=config)
    except ValueError:
        raise ArchiveDenied("AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL) is no URL like https://host:port") from None
    client.meta.events.register("needs-retry.s3", _retry_expired)  # type: ignore[arg-type] # what it returns counts
    return client


def refuse_plain_http(endpoint_url: str) -> None:
    """Raise `ArchiveDenied` for an endpoint that everybody on the way to it can read, whatever setting names it."""
    parts = urlsplit(endpoint_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ArchiveDenied(
            f"The S3 endpoint {parts.scheme}://{parts.hostname} is not https: recordings and transcripts would cross "
            "the network in the clear. Nothing was sent. Use an https endpoint (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL "
            "or the AWS profile); plain http is for this machine only."
        )


def _is_aws(client: "S3Client") -> bool:
    """Return whether the endpoint is AWS's own, and none that the settings name."""
    host = client.meta.endpoint_url.split("/")[2]
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _find_region(client: "S3Client", bucket: str) -> str | None:
    """Return the region that S3 names for a bucket, also where it refuses; None where it names none."""
    try:
        headers = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    return headers.get(_REGION_HEADER)
