"""What can go wrong outside, as types. What to do about each is for `failures.py` to say.

    ExternalError
    ├── ApiError                  KrosAI's API
    │   ├── ApiUnreachable        no answer, or one that broke off: refused, reset, timed out
    │   ├── ApiServerError             it answered 5xx
    │   ├── TooManyRequests       429, or our own share of the quota is used up
    │   ├── ApiUnauthorized                401, or 403 where no single call is meant
    │   ├── UnexpectedResponse          an answer that the documentation does not describe
    │   ├── CallNotFound          404: upstream has no such thing for this call
    │   ├── CallGone              410: it had, and deleted it
    │   └── RequestRefused        any other 4xx, with upstream's words
    ├── DownloadError             the audio of one call
    │   ├── UrlRefused            the URL is not one that the settings allow
    │   ├── UrlExpired            storage answered 401 or 403
    │   ├── AudioGone             storage answered 404 or 410
    │   ├── DownloadBroken        no answer, a body that broke off or dripped, 429 or 5xx
    │   └── InvalidAudio          it arrived, and is not this call's recording
    ├── ArchiveError              the bucket
    │   ├── ObjectExists          a create-only write found another object
    │   ├── ObjectChanged         a conditional write found another version
    │   ├── ArchiveUnavailable    no answer, throttled, 5xx
    │   ├── ArchiveDenied         no credentials, no permission, no such bucket
    │   └── WrongArchive          the prefix belongs to another account
    └── NotificationFailed                   the webhook did not take the sentence

A message never shows a URL's query, a key or a phone number: upstream's own text passes through `redaction.redact`.
"""


class ExternalError(Exception):
    """Something outside this process did not do what was asked."""


class ApiError(ExternalError):
    """KrosAI's API."""


class ApiUnreachable(ApiError):
    """No whole answer. `surely_not_sent` is True where no connection was ever made."""

    def __init__(self, message: str, *, surely_not_sent: bool = False):
        super().__init__(message)
        self.surely_not_sent = surely_not_sent


class ApiServerError(ApiError):
    """An answer of 5xx."""


class TooManyRequests(ApiError):
    """The door is closed for longer than a run should wait."""


class ApiUnauthorized(ApiError):
    """The key is not accepted, or not for this organization."""


class UnexpectedResponse(ApiError):
    """An answer that the documentation does not describe."""


class CallNotFound(ApiError):
    """404 for one call."""


class CallGone(ApiError):
    """410 for one call."""


class RequestRefused(ApiError):
    """Another 4xx."""


class DownloadError(ExternalError):
    """The audio of one call."""


class UrlRefused(DownloadError):
    """Not a host, scheme or form that audio may come from."""


class UrlExpired(DownloadError):
    """Storage does not accept the URL, or does not any more."""


class AudioGone(DownloadError):
    """Storage says that there is no such object."""


class DownloadBroken(DownloadError):
    """The same request may do better in a moment."""


class InvalidAudio(DownloadError):
    """The body arrived and is not the call's recording. `check` names the check that it failed."""

    def __init__(self, check: str, message: str):
        super().__init__(message)
        self.check = check


class ArchiveError(ExternalError):
    """The bucket."""


class ObjectExists(ArchiveError):
    """There is an object at the key."""


class ObjectChanged(ArchiveError):
    """The object is not the one that was read."""


class ArchiveUnavailable(ArchiveError):
    """The same request may do better in a moment."""


class ArchiveDenied(ArchiveError):
    """Nobody but a human can open this door."""


class WrongArchive(ArchiveError):
    """Two accounts never mix in one archive."""


class NotificationFailed(ExternalError):
    """The webhook did not take the sentence. Its URL is a secret."""
