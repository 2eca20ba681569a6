"""Makes the listing of a day from what was read, what the table has, and the last listing."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from typing import NamedTuple

from ..archive.listings import read_usable_listing
from ..archive.object_store import ObjectStore
from ..archive.tombstones import Tombstones
from ..core.days import LISTED_BEYOND
from ..core.digest_set import DigestSet
from ..core.errors import ExternalError, TooManyRequests
from ..core.listing import Listing
from ..core.object_keys import call_key
from ..source.time_format import format_time
from .archived_ids import ArchivedIds
from .home_calls import HomeCalls
from .list_reader import DayList


class Noted(NamedTuple):
    """What a day's listing said before the list was read anew."""

    listed_at: str
    pending: list[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """When a list was read, and what the listings of its days said when that began; None of a day without one."""

    began_at: datetime
    ended_at: datetime
    noted: Mapping[date, Noted | None]


def read_noted(store: ObjectStore, day: date) -> Noted | None:
    """Return what the day's listing says now; None where there is none that can be read."""
    listing = read_usable_listing(store, day)
    return Noted(listing.listed_at, listing.pending) if listing is not None else None


class ListingMaker:
    """Makes the listing of one day.

    `present_ids` yields the ids that the table `calls` has after this run's write, some at a time; `present` has them,
    too. `archived` has the neighbours' ids.
    """

    def __init__(
        self,
        day: date,
        listed: DayList,
        homes: HomeCalls,
        present: DigestSet,
        present_ids: Callable[[], Iterable[list[str]]],
        archived: ArchivedIds,
        tombstones: Tombstones,
    ):
        self._day, self._listed, self._homes = day, listed, homes
        self._present, self._present_ids = present, present_ids
        self._archived, self._tombstones = archived, tombstones

    def make(
        self,
        last: Listing | None,
        error: ExternalError | None,
        pending: list[str],
        oddities: list[str],
        reading: Reading,
        listed_for: date | None,
    ) -> Listing:
        """Return the new listing. `error` is what ended the reading; `pending` and `oddities` are added to it.

        What others have noted in the last listing since the reading began stays: this reading does not settle it.

        `listed_for` is the day whose run has read the list, if it is another one.

        Its digests are those of the last listing and of the table, without erased calls (asked for anew: an erasure
        may have come in between) and without calls that an earlier day keeps.
        """
        problems = self._listed.problems
        if error is not None:
            problems = [*problems, f"The list was not read to its end: {error}."]
        present, kept = self._present, self._homes.kept
        known = DigestSet.unpack((last.call_digests if last is not None else None) or "")
        erased = self._find_erased()
        lost = kept - present - erased
        if len(lost):
            problems = [*problems, self._describe_lost(len(lost))]
        gone = erased | DigestSet(self._homes.removed)
        rows = self._listed.rows
        return Listing(
            proved=not problems,
            listed_total=len(kept),
            out_of_requests=isinstance(error, TooManyRequests) and not rows.problems() and not len(lost),
            is_moving=self._listed.is_moving and error is None and not len(lost),
            windows=[(format_time(window.start), format_time(window.end)) for window in self._listed.windows],
            pages=self._listed.pages,
            problems=problems,
            pending=list(dict.fromkeys([*self._find_noted_since(last, reading), *pending])),
            oddities=[*rows.oddities(), *oddities],
            unparsed=[row.problem for row in rows.unparsed.values()],
            listed_at=reading.began_at.isoformat(timespec="seconds"),
            read_until=reading.ended_at.isoformat(),
            listed_for=listed_for.isoformat() if listed_for is not None else "",
            shows_earlier=rows.is_shown_earlier or rows.longest_beyond > LISTED_BEYOND,
            shows_later=rows.is_shown_later,
            call_digests=((known | present) - gone).pack(),
            unlisted_digests=(present - kept - erased).pack(),
            witnessed_digests=self._keep_witnessed(last, gone),
            erasure_token=last.erasure_token if last is not None else None,
        )

    def _find_noted_since(self, last: Listing | None, reading: Reading) -> list[str]:
        """Return the sentences that were noted since the reading began; all of them where another run has listed."""
        noted = reading.noted.get(self._day)
        if last is None:
            return []
        if noted is None or noted.listed_at != last.listed_at:
            return last.pending
        return list((Counter(last.pending) - Counter(noted.pending)).elements())

    def _keep_witnessed(self, last: Listing | None, gone: DigestSet) -> str | None:
        """Return the digests of witnessed calls that neither this day's table nor a neighbour's has by now."""
        witnessed = DigestSet.unpack((last.witnessed_digests if last is not None else None) or "")
        if not len(witnessed):
            return None
        return (witnessed - self._present - self._archived.beside() - gone).pack() or None

    def _find_erased(self) -> DigestSet:
        """Return the erased calls among those that are listed, and among those of the table."""
        pseudonyms = self._tombstones.pseudonyms()
        if not pseudonyms:
            return DigestSet()
        kept = ([call.call_id] for call in self._homes.calls_of(self._day))
        return DigestSet(
            call_id
            for ids in chain(kept, self._present_ids())
            for call_id in ids
            if self._tombstones.matches(call_key(call_id), pseudonyms)
        )

    def _describe_lost(self, count: int) -> str:
        return (
            f"{count} calls are listed, and an earlier day that was to keep them has lost them: restore that day's "
            f"table `calls`, or delete their objects below state/moved/dt={self._day}/ and materialize this day."
        )
