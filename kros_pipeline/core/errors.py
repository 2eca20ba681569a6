"""The errors of the source and the archive, as types. `failures.py` decides what to do about each.

    ExternalError
    ├── ApiError                  KrosAI's API
    │   ├── ApiUnreachable        no answer, or a broken one: refused, reset, timed out
    │   ├── ApiServerError        5xx, 408, 409, and what is not the API's own answer: see there
    │   ├── TooManyRequests       a rate limit, or this run's own share of the quota is used up
    │   ├── ApiUnauthorized       401; 403 where no single call was asked for; the key expired, the address not allowed
    │   ├── UnexpectedResponse    an answer that the documentation does not describe
    │   ├── CallNotFound          404 with the API's own error: upstream does not have it for this call
    │   ├── CallGone              410 with the API's own error: upstream had it, and deleted it
    │   ├── RequestRefused        any other 4xx, or a change refused in a 2xx, with upstream's message
    │   ├── NotOffered            404 or 403 with the API's own error, for a part of the API that is optional
    │   └── UnaddressableCall     the id cannot be part of a URL: nothing is ever sent
    ├── DownloadError             the audio of one call
    │   ├── UrlRefused            the settings do not allow the URL
    │   ├── UrlExpired            storage answered 400, 401 or 403
    │   ├── AudioGone             storage answered 404 or 410
    │   ├── DownloadBroken        no answer, a body that broke off or came too slowly, 429 or 5xx
    │   └── InvalidAudio          the body arrived, and is not this call's recording
    ├── ArchiveError              the bucket
    │   ├── ObjectExists          a create-only write found another object
    │   ├── ObjectChanged         a conditional write found another version
    │   ├── ArchiveUnavailable    no answer, throttled, 5xx
    │   ├── ArchiveDenied         no credentials, no permission, no such bucket
    │   │   └── UnfitStore        the server ignores or does not know what the archive relies on
    │   ├── UnreadablePartition   the object of a partition is no whole Parquet file of its table
    │   ├── UnreadableListing     the listing of a day is not what a run wrote
    │   ├── NewerTable            a partition has columns of a newer version, which this one would drop
    │   ├── MissingTable          a day has no partition of a table that the step needs
    │   ├── UnknownCalls          an operator named calls that the day does not have
    │   └── WrongArchive          the prefix belongs to another account
    ├── LocalFault                this machine: its disk is full, it has no temporary folder, too many files are open
    ├── NotificationFailed        the webhook did not accept the message
    ├── SigningFailed             the key that signs seals cannot be used
    └── TimestampFailed           the time-stamp authority gave no token that holds

A message never shows a URL's query, a key or a phone number: upstream's own text passes through `redaction.redact`.
"""


class ExternalError(Exception):
    """The source, the archive or the webhook did not do what was asked."""


class ApiError(ExternalError):
    """A request to KrosAI's API failed."""


class ApiUnreachable(ApiError):
    """There was no whole answer. `surely_not_sent` is True where no connection was made, so nothing was sent."""

    def __init__(self, message: str, *, surely_not_sent: bool = False):
        super().__init__(message)
        self.surely_not_sent = surely_not_sent


class ApiServerError(ApiError):
    """The API answered 5xx, 408 or 409, or something else answered in its place.

    That is a 404 or 410 without the API's error in its body, or a 2xx without the JSON that was asked for. The same
    request may succeed when it is repeated. A change may have acted: 5xx, 408, 409, a redirect, or a 2xx with HTML.
    """


class TooManyRequests(ApiError):
    """The API throttles for longer than a run should wait, or the run's share of the quota is used up."""


class ApiUnauthorized(ApiError):
    """The API does not accept the key: not for this organization, not from this address, or no longer."""


class UnexpectedResponse(ApiError):
    """The API's answer is not one that the documentation describes."""


class CallNotFound(ApiError):
    """The API itself answered 404 for one call."""


class CallGone(ApiError):
    """The API itself answered 410 for one call."""


class RequestRefused(ApiError):
    """The API answered another 4xx, or reported in a 2xx that it refuses a change. Nothing was changed.

    `is_forbidden` is True for a 403 with the API's own error.
    """

    def __init__(self, message: str, *, is_forbidden: bool = False):
        super().__init__(message)
        self.is_forbidden = is_forbidden


class NotOffered(ApiError):
    """The API does not offer an optional part of it to this account."""


class UnaddressableCall(ApiError):
    """A call cannot be asked for by its id, today or later. No request is sent."""


class DownloadError(ExternalError):
    """The audio of one call could not be downloaded."""


class UrlRefused(DownloadError):
    """Audio may not come from the URL's host, scheme or form."""


class UrlExpired(DownloadError):
    """Storage does not accept the URL, or no longer."""


class AudioGone(DownloadError):
    """Storage has no such object."""


class DownloadBroken(DownloadError):
    """The same request may succeed when it is repeated."""


class InvalidAudio(DownloadError):
    """The body arrived, and is not the call's recording. `check` names the check that failed."""

    def __init__(self, check: str, message: str):
        super().__init__(message)
        self.check = check


class ArchiveError(ExternalError):
    """A request to the bucket failed."""


class ObjectExists(ArchiveError):
    """An object exists at the key."""


class ObjectChanged(ArchiveError):
    """The object changed since it was read."""


class ArchiveUnavailable(ArchiveError):
    """The same request may succeed when it is repeated."""


class ArchiveDenied(ArchiveError):
    """Access is denied, and only a person can change that."""


class UnfitStore(ArchiveDenied):
    """The server of the bucket lacks what the archive relies on: only another server or another version helps."""


class UnreadablePartition(ArchiveError):
    """The object of a partition is no whole Parquet file of its table: somebody else wrote or cut it."""


class NewerTable(ArchiveError):
    """A partition has columns that this version does not know: to write it would drop them."""


class MissingTable(ArchiveError):
    """A day has no partition of a table that a step needs: the step before it never ran, or the object was deleted."""


class UnreadableListing(ArchiveError):
    """The listing of a day is no JSON of a listing: somebody else wrote or cut it. A run of `calls` replaces it."""


class UnknownCalls(ArchiveError):
    """An operator named calls that the day does not have."""


class WrongArchive(ArchiveError):
    """The archive belongs to another account: two accounts never share one."""


class LocalFault(ExternalError):
    """This machine cannot do its part. Neither source nor archive is at fault, and every call meets the same."""


class NotificationFailed(ExternalError):
    """The webhook did not accept the message. Its URL is a secret and never shown."""


class SigningFailed(ExternalError):
    """The key that signs seals is missing or of another kind, or KMS refused. The signature is owed."""


class TimestampFailed(ExternalError):
    """The time-stamp authority gave no answer, or none that openssl accepts. The time-stamp is owed."""
