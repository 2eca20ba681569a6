"""Notices another account's API key before anything is written: two accounts must not mix in one archive.

An archive stores fingerprints of the keys that belong to its account. A key that it does not know (a new one, or the
first after version 0.1.0), and an organization that is only named now, are confirmed: the list must show calls that the
archive has. A known key costs no request.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice

from ..archive.archived_days import days_of_table
from ..archive.identity import ArchiveIdentity
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..core import schemas
from ..core.days import end_of, start_of
from ..core.digest_set import DigestSet, digest_all
from ..core.errors import UnreadablePartition, WrongArchive
from ..core.object_keys import AUDIO
from ..source.call_source import CallSource, Window
from .archived_ids import digests_of, ids_in

_MAX_DAYS = 3
_FEW_CALLS = 3  # fewer may have been deleted upstream, all of them, while late ones came
_MAX_PAGES = 5  # of a day: the first page shows a known call, unless many calls were late
_OTHER_ACCOUNT = (
    "Set KROSAI_API_KEY and KROSAI_ORGANIZATION_ID to those of the archive's own account, or give this account a "
    "prefix of its own in KROS_ARCHIVE_URL."
)
_WHAT_TO_DO = f"{_OTHER_ACCOUNT} If the key is the account's, docs/custody.md says how it is entered by hand."


def confirm_account(*, source: CallSource, store: ObjectStore, tables: Tables, identity: ArchiveIdentity) -> None:
    """Confirm that the source lists calls that the archive has, unless the archive knows the key and organization.

    The newest days with calls are listed, three at most. Where one call is known, the archive stores the fingerprint of
    the key. Raises `WrongArchive` where none is, or where the archive has recordings and no call to compare;
    `UnreadablePartition` where a day that might have confirmed the key cannot be read; and `ApiError` where the source
    cannot be asked.
    """
    if identity.is_confirmed:
        return
    asked: list[date] = []
    listed_count = 0
    unreadable: list[UnreadablePartition] = []
    for day, known_ids in _days_with_calls(store, tables, unreadable):
        for listed_ids in _listed_ids(source, day):
            if known_ids.has(digest_all(listed_ids)).any():
                identity.confirm(has_calls=True)
                return
            listed_count += len(listed_ids)
        asked.append(day)
        if len(asked) == _MAX_DAYS:
            break
    if unreadable:
        raise unreadable[0]  # the newest: its calls might have confirmed the key
    if not asked:
        if _has_recordings(store, tables):
            raise WrongArchive(
                f"{store.url('')} has recordings, and no table `calls` that this API key could be compared with. "
                f"Nothing was written. Restore the partitions of tables/calls/. {_WHAT_TO_DO}"
            )
        identity.confirm(has_calls=False)
        return
    found = f"{listed_count} calls, and the archive has none of them" if listed_count else "no call"
    raise WrongArchive(
        f"{store.url('')} has calls that this API key does not list: of {', '.join(map(str, asked))} it lists {found}. "
        f"Nothing was written. {_WHAT_TO_DO}"
    )


def check_known_ids(day: date, known_ids: DigestSet, listed_ids: Iterable[list[str]]) -> None:
    """Raise `WrongArchive` where the list shows three or more calls of a day, and none of those that its table has.

    `listed_ids` are the calls that the list shows of this day, without those of its neighbours and without erased ones.
    They come some at a time, and are read as far as one is known.
    """
    if len(known_ids) < _FEW_CALLS:
        return
    listed_count = 0
    for ids in listed_ids:
        if known_ids.has(digest_all(ids)).any():
            return
        listed_count += len(ids)
    if listed_count >= _FEW_CALLS:
        raise WrongArchive(
            f"{day}: the archive has {len(known_ids)} calls, the list shows {listed_count}, and none is the same: "
            f"another account would be mixed into the day. Nothing was written. {_OTHER_ACCOUNT}"
        )


def _days_with_calls(
    store: ObjectStore, tables: Tables, unreadable: list[UnreadablePartition]
) -> Iterator[tuple[date, DigestSet]]:
    """Yield the days that have calls with the ids of their calls, the newest day first.

    The errors of partitions that cannot be read are added to `unreadable`.
    """
    for day in reversed(days_of_table(store, schemas.CALLS.name)):
        try:
            with tables.opened(schemas.CALLS, day) as partition:
                known_ids = digests_of(partition)
        except UnreadablePartition as error:
            unreadable.append(error)
            continue
        if len(known_ids):
            yield day, known_ids


def _has_recordings(store: ObjectStore, tables: Tables) -> bool:
    """Return whether the archive has audio, or a row in `recordings`: a day without calls has a partition, too."""
    return bool(list(store.folders(AUDIO))) or any(
        _has_rows(tables, schemas.RECORDINGS, day) for day in days_of_table(store, schemas.RECORDINGS.name)
    )


def _has_rows(tables: Tables, table: schemas.Table, day: date) -> bool:
    with tables.opened(table, day) as partition:
        return any(True for _ in ids_in(partition))


def _listed_ids(source: CallSource, day: date) -> Iterator[set[str]]:
    """Yield the ids on each of the first pages of a day's list."""
    for page in islice(source.pages(Window(start_of(day), end_of(day))), _MAX_PAGES):
        yield {listed.call.call_id for listed in page.calls}
