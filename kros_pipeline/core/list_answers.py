"""What the last listing of a day answers about its calls."""

from datetime import datetime

from .days import parse_time
from .digest_set import DigestSet
from .listing import Listing


class ListAnswers:
    """The answers of a day's last listing: when it showed a call. A list that was not proved answers for no call."""

    def __init__(self, listing: Listing | None):
        self._at: datetime | None = None
        self._unlisted = DigestSet()
        if listing is not None and listing.proved and listing.unlisted_digests is not None:
            self._at, self._unlisted = parse_time(listing.listed_at), DigestSet.unpack(listing.unlisted_digests)

    def at(self, call_id: str) -> datetime | None:
        """Return when the call of the table `calls` was last listed; None where the last listing did not show it."""
        return self._at if self._at is not None and call_id not in self._unlisted else None
