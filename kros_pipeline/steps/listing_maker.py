"""Makes the listing of a day from what was read, what the table has, and the last listing."""

from collections.abc import Iterable
from datetime import date, datetime

from ..archive.tombstones import Tombstones
from ..core.days import LISTED_BEYOND
from ..core.errors import ExternalError, TooManyRequests
from ..core.home_days import HomeDays
from ..core.id_digests import digest_id, pack_digests, unpack_digests
from ..core.listing import Listing
from ..core.object_keys import call_key
from ..source.time_format import format_time
from .list_reader import DayList
from .other_days import ArchivedIds


class ListingMaker:
    """Makes the listing of one day.

    `present_ids` are the ids that the table `calls` has after this run's write; `archived` has the neighbours' ids.
    """

    def __init__(
        self,
        day: date,
        listed: DayList,
        homes: HomeDays,
        present_ids: set[str],
        archived: ArchivedIds,
        tombstones: Tombstones,
    ):
        self._day, self._listed, self._homes, self._present_ids = day, listed, homes, present_ids
        self._archived, self._tombstones = archived, tombstones

    def make(
        self,
        last: Listing | None,
        error: ExternalError | None,
        pending: list[str],
        oddities: list[str],
        now: datetime,
        listed_for: date | None,
    ) -> Listing:
        """Return the new listing. `error` is what ended the reading; `pending` and `oddities` are added to it.

        `listed_for` is the day whose run has read the list, if it is another one.

        Its digests are those of the last listing and of the table, without erased calls (asked for anew: an erasure
        may have come in between) and without calls that an earlier day keeps.
        """
        problems = self._listed.problems
        if error is not None:
            problems = [*problems, f"The list was not read to its end: {error}."]
        known = unpack_digests(last.call_digests) if last is not None and last.call_digests else set()
        erased = self._erased_of({*self._homes.kept, *self._present_ids})
        lost = self._homes.kept.keys() - self._present_ids - erased
        if lost:
            problems = [*problems, self._describe_lost(len(lost))]
        gone = set(map(digest_id, erased | self._homes.removed.keys()))
        digests = (known | set(map(digest_id, self._present_ids))) - gone
        rows = self._listed.rows
        return Listing(
            proved=not problems,
            listed_total=len(self._homes.kept),
            out_of_requests=isinstance(error, TooManyRequests) and not rows.problems(),
            is_moving=self._listed.is_moving and error is None and not lost,
            windows=[(format_time(window.start), format_time(window.end)) for window in self._listed.windows],
            pages=self._listed.pages,
            problems=problems,
            pending=pending,
            oddities=[*rows.oddities(), *oddities],
            unparsed=[row.problem for row in rows.unparsed.values()],
            listed_at=now.isoformat(timespec="seconds"),
            listed_for=listed_for.isoformat() if listed_for is not None else "",
            shows_earlier=rows.is_shown_earlier or rows.longest_beyond > LISTED_BEYOND,
            shows_later=rows.is_shown_later,
            call_digests=pack_digests(digests),
            unlisted_digests=pack_digests(map(digest_id, self._present_ids - self._homes.kept.keys() - erased)),
            witnessed_digests=self._keep_witnessed(last, gone),
            erasure_token=last.erasure_token if last is not None else None,
        )

    def _keep_witnessed(self, last: Listing | None, gone: set[bytes]) -> str | None:
        """Return the digests of witnessed calls that neither this day's table nor a neighbour's has by now."""
        witnessed = last.witnessed if last is not None else set()
        if not witnessed:
            return None
        archived = set(map(digest_id, self._present_ids | self._archived.beside()))
        return pack_digests(witnessed - archived - gone) or None

    def _erased_of(self, call_ids: Iterable[str]) -> set[str]:
        pseudonyms = self._tombstones.pseudonyms()
        if not pseudonyms:
            return set()
        return {call_id for call_id in call_ids if self._tombstones.matches(call_key(call_id), pseudonyms)}

    def _describe_lost(self, count: int) -> str:
        return (
            f"{count} calls are listed, and an earlier day that was to keep them has lost them: restore that day's "
            f"table `calls`, or delete their objects below state/moved/dt={self._day}/ and materialize this day."
        )
