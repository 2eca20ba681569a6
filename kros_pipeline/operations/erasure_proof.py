"""The proof of an erasure: searches for what is left of its calls, and says what was searched.

Three searches are always made, whatever the age of the archive:

1. Every version of every object of the calls' days, of the days beside them, and of days that have no present table
   `calls`, whatever else they have, if only old versions behind delete markers.
2. Every version of everything that lies in no day, markers of moved calls and unparsed rows of all days among them; of
   objects that have numbers only, and a new version every hour, the present version. Of the claims of decisions those
   are read that no journal has an attempt of. Tombstones of numbers and rows, which are pseudonyms, and quotas are not.
3. Of each other day the present tables `calls` and `reconciliation` and the listing, in ranges.

Why nothing else of other days can name a call. A step writes only the calls of its own day's table `calls`: audio,
rejected bodies, reviews, journals, audit lines, records and the rows of the other tables lie under the day whose table
has the call. A row leaves that table in two ways, and each is known by a key of its own: an erasure has a tombstone,
and a call that an earlier day keeps has a marker below `state/moved/`. The listing of a day names the calls that its
table has to hold, so that a table which somebody deleted or replaced hides none. So a day without the call in its
table, its listing, a marker or a tombstone has nothing of it, and the keys of its audio need not be listed.

What somebody else has put into the folders of other days, or into one that is not read, or an older version that has
another number of a call, is found by the full search only. Of what is in no folder of this pipeline the other searches
read the keys, and the result names it. The full search reads every version of every object, notes the parts in which
nothing is left in the erasure plan, and goes on there when it is launched again. Of recordings and rejected bodies no
search reads more than the keys.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import as_completed
from datetime import date

from ..archive.governance import Governance, ObjectVersion
from ..archive.object_store import ObjectStore
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import days_beside
from ..core.wanted_number import WantedNumber
from ..core.worker_threads import worker_threads
from .decision_search import COLUMNS, decisions_of_others, find_claims_without_intent
from .erasure_request import ErasurePlan, save_progress
from .every_day import EveryDay
from .residue_search import OWN_FOLDERS, ResidueSearch
from .search_parts import cut_archive, cut_outside_days

_SAVE_EVERY_SECONDS = 30.0
_MAX_NAMED_DAYS = 30
_MAX_NAMED_FOREIGN = 10
_OF_CONTENTS = "contents of foreign objects\n"  # a search that was killed before they were read has read less
NOT_SEARCHED = (
    "what no step of this pipeline wrote into the folders of other days, of pseudonyms and of quotas, and older "
    "versions there: full_search: true reads them, too"
)
NUMBER_UNKNOWN = (
    "the number of an earlier erasure, which this launch does not name: its calls are erased, and only their ids were "
    "searched for. Launch the job once more with the number"
)


class ErasureProof:
    """The search for what is left of the calls of a plan, and of its number where this launch names it."""

    def __init__(
        self,
        plan: ErasurePlan,
        wanted: WantedNumber | None,
        *,
        store: ObjectStore,
        governance: Governance,
        every_day: EveryDay,
        tombstones: Tombstones,
        clock: Clock,
        threads: int,
    ):
        self._plan, self._wanted = plan, wanted
        self._store, self._governance, self._every_day = store, governance, every_day
        self._tombstones, self._clock, self._threads = tombstones, clock, threads
        self._search = ResidueSearch(plan.call_ids, wanted)
        self._days = sorted({*plan.days, *(beside for day in plan.days for beside in days_beside(day))})

    def find(self) -> list[str]:
        """Search, the calls' days first: the archive may be a thousand times as large. Stop where something is left."""
        return self.find_of_days() or self.find_elsewhere() or self.find_everywhere(notes_progress=True)

    def find_of_days(self) -> list[str]:
        """Search the calls' days, those beside them, and those without a table `calls`."""
        parts = cut_outside_days(self._governance)
        days = sorted({*self._days, *self._every_day.without_calls(parts.days)})
        self._search.of_others, self._search.reads_everything = self._find_decisions_of_others(days), False
        prefixes = [prefix for day in days for prefix in parts.prefixes_of(day)]
        return self._search.find(self._governance, prefixes, threads=self._threads)

    def find_elsewhere(self) -> list[str]:
        """Search what lies in no day, and the other days."""
        with worker_threads(self._threads, "claims") as pool:
            claims = find_claims_without_intent(self._store, self._governance, pool)
        parts = cut_outside_days(self._governance)
        found = self._find_in_objects([*claims, *parts.objects])
        found += self._search.find(self._governance, sorted(parts.prefixes), threads=self._threads)
        return found + self._every_day.find_residue(self._search, self._plan.call_ids, self._days)

    def describe(self) -> list[str]:
        """Return what the searches cover, a sentence part each."""
        if self._plan.full_search:
            return [
                "every version of every object of the archive, but for the contents of recordings, of rejected bodies, "
                "and of what is neither UTF-8 text nor Parquet: of these the keys"
            ]
        named = ", ".join(map(str, self._days[:_MAX_NAMED_DAYS]))
        more = f" and {len(self._days) - _MAX_NAMED_DAYS} more" if len(self._days) > _MAX_NAMED_DAYS else ""
        return [
            f"every version of every object of the calls' days and of those beside them ({named or 'none'}{more})",
            "every version of every object of the days that have no present table calls",
            "every version of every object that is of no day, but for old ones that have numbers only, pseudonyms of "
            "numbers and rows, quotas, and claims of decisions that a journal has",
            "of all other days the present tables calls and reconciliation, and the listing",
        ]

    def describe_unsearched(self) -> list[str]:
        """Return what the searches leave out, a sentence part each: nothing where the full search is made."""
        if self._plan.full_search:
            return []
        versions, folders = self._governance.level("")
        foreign = sorted({*folders, *(version.key for version in versions)} - OWN_FOLDERS)
        if not foreign:
            return [NOT_SEARCHED]
        more = f" and {len(foreign) - _MAX_NAMED_FOREIGN} more" if len(foreign) > _MAX_NAMED_FOREIGN else ""
        return [
            NOT_SEARCHED,
            f"the contents of what this pipeline did not write ({', '.join(foreign[:_MAX_NAMED_FOREIGN])}{more}), of "
            "which only the keys were searched: full_search: true reads them, too",
        ]

    def find_everywhere(self, *, notes_progress: bool = False) -> list[str]:
        """Search every version of every object, if that is wanted, but for the parts that a killed run has searched."""
        if not self._plan.full_search:
            return []
        self._search.of_others, self._search.reads_everything = (), True
        searched_for = self._name_search()
        if self._plan.searched_for != searched_for:
            self._plan.searched, self._plan.searched_for = set(), searched_for
        parts = cut_archive(self._governance)
        found = self._find_in_objects(parts.objects)
        try:
            found += self._find_in_parts(sorted(parts.prefixes - self._plan.searched), notes_progress=notes_progress)
        finally:
            if notes_progress:
                save_progress(self._plan, self._store)
        return found

    def _find_in_objects(self, versions: Iterable[ObjectVersion]) -> list[str]:
        with worker_threads(self._threads, "residue") as pool:
            parts = pool.map(lambda version: self._search.find_in(self._governance, [version]), versions)
            return [found for part in parts for found in part]

    def _find_in_parts(self, prefixes: Iterable[str], *, notes_progress: bool) -> list[str]:
        found, saved_at = list[str](), self._clock.monotonic()
        with worker_threads(self._threads, "full-search") as pool:
            work = {
                pool.submit(self._search.find_in, self._governance, self._governance.versions(prefix)): prefix
                for prefix in prefixes
            }
            for done in as_completed(work):
                found += done.result()
                if not done.result():
                    self._plan.searched.add(work[done])
                if notes_progress and self._clock.monotonic() - saved_at > _SAVE_EVERY_SECONDS:
                    save_progress(self._plan, self._store)
                    saved_at = self._clock.monotonic()
        return found

    def _name_search(self) -> str:
        """Return a pseudonym of what is searched for: parts that were searched for less are searched again."""
        names = sorted(self._plan.call_ids) + ([self._wanted.name] if self._wanted is not None else [])
        return self._tombstones.pseudonym(_OF_CONTENTS + "\n".join(names))

    def _find_decisions_of_others(self, days: Collection[date]) -> set[str]:
        """Return the decisions that rows of the days give to other calls."""
        read = self._every_day.read(
            schemas.RETENTION_EXTENSIONS,
            lambda _, partition: decisions_of_others(partition.rows(COLUMNS), self._plan.call_ids),
            only=days,
        )
        return {decision for _, decisions in read for decision in decisions}
