"""What the last listing of a day answers about its calls."""

from datetime import datetime

from .days import parse_time
from .digest_set import DigestSet
from .listing import Listing


class ListAnswers:
    """The answers of a day's last listing: when it showed a call. A list that was not proved answers for no call.

    The list showed each call at some time while it was read: a first answer is as late as that may be, and a second
    one as early, so that the two are never less apart than they seem.
    """

    def __init__(self, listing: Listing | None):
        self._began_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._unlisted = DigestSet()
        if listing is not None and listing.proved and listing.unlisted_digests is not None:
            self._began_at = parse_time(listing.listed_at)
            self._ended_at = parse_time(listing.read_until) or self._began_at
            self._unlisted = DigestSet.unpack(listing.unlisted_digests)

    def at(self, call_id: str) -> datetime | None:
        """Return since when the call of the table `calls` was last listed; None where the last listing did not show it.

        It is the time of a second answer.
        """
        return self._began_at if self._began_at is not None and call_id not in self._unlisted else None

    def first_at(self, call_id: str, changed_at: datetime | None) -> datetime | None:
        """Return the time of a first answer; None where the last listing gave none.

        It gave none for a call whose row changed after it, at `changed_at`: another day's run has added the call since.
        """
        if self._ended_at is None or changed_at is None or changed_at > self._ended_at:
            return None
        return self._ended_at if call_id not in self._unlisted else None
