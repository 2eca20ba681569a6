"""An archive belongs to one account: it names it, knows its keys by fingerprints, and refuses any other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from kros_pipeline.archive.identity import ArchiveIdentity
from kros_pipeline.archive.json_objects import create_json, read_json, replace_json
from kros_pipeline.core.errors import WrongArchive
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY
from kros_pipeline.core.pseudonyms import api_key_fingerprint
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

API = "https://api.example.com/v1"
_numbers = itertools.count(1)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"identity-{next(_numbers)}")


def of(store: MemoryObjectStore, key: str = "our-key", *, organization_id: str | None = None) -> ArchiveIdentity:
    return ArchiveIdentity(store, API, organization_id, api_key_fingerprint(key))


def is_confirmed(identity: ArchiveIdentity) -> bool:
    return identity.is_confirmed


def test_an_archive_of_nobody_is_claimed_and_stores_no_key(store: MemoryObjectStore) -> None:
    identity = of(store)
    assert (identity.check(), identity.is_migrated, is_confirmed(identity)) == (False, True, True)
    identity.claim()
    assert (identity.check(), identity.is_migrated, is_confirmed(identity)) == (True, True, True)
    assert read_json(store, ARCHIVE_IDENTITY) == {
        "base_url": API, "organization_id": None, "format": 2, "migration": "done",
        "key_fingerprints": [api_key_fingerprint("our-key")],
    }  # fmt: skip
    assert b"our-key" not in (store.read(ARCHIVE_IDENTITY) or b"")


def test_the_store_is_probed_also_where_another_run_claims_first(store: MemoryObjectStore) -> None:
    ours, probed = of(store), []
    assert not ours.check()
    ours.before_claim = lambda: probed.append(store)
    of(store).claim()
    ours.claim()
    assert probed == [store]


def test_another_key_is_known_only_once_it_is_confirmed(store: MemoryObjectStore) -> None:
    of(store).claim()
    other = of(store, "new-key")
    assert other.check() and not is_confirmed(other)
    with pytest.raises(WrongArchive, match="another API key"):
        other.claim()
    other.confirm(has_calls=True)
    assert is_confirmed(other)
    for key in ("our-key", "new-key"):
        known = of(store, key)
        assert known.check() and is_confirmed(known)


def test_an_archive_without_calls_forgets_the_keys_that_began_it(store: MemoryObjectStore) -> None:
    of(store).claim()
    other = of(store, "new-key")
    other.check()
    other.confirm(has_calls=False)
    first = of(store)
    assert first.check() and not is_confirmed(first)


@pytest.mark.parametrize("organization_id", [None, "org-b"])
def test_a_stored_organization_is_the_only_one(store: MemoryObjectStore, organization_id: str | None) -> None:
    of(store, organization_id="org-a").claim()
    with pytest.raises(WrongArchive, match=r"organization_id is 'org-a' there and '(none|org-b)' here"):
        of(store, organization_id=organization_id).check()


def test_an_organization_that_is_only_named_now_needs_confirmation(store: MemoryObjectStore) -> None:
    of(store).claim()
    named = of(store, organization_id="org-a")
    assert named.check() and not is_confirmed(named)
    with pytest.raises(WrongArchive):
        named.claim()
    named.confirm(has_calls=True)
    assert is_confirmed(named) and of(store, organization_id="org-a").check()
    with pytest.raises(WrongArchive, match="organization_id"):
        of(store).check()


def test_of_two_organizations_that_are_confirmed_at_once_one_is_refused(store: MemoryObjectStore) -> None:
    of(store).claim()
    first, second = of(store, organization_id="org-a"), of(store, organization_id="org-b")
    assert first.check() and second.check()
    first.confirm(has_calls=True)
    with pytest.raises(WrongArchive, match="organization_id"):
        second.confirm(has_calls=True)


def test_tables_without_an_identity_are_refused(store: MemoryObjectStore) -> None:
    create_json(store, "tables/calls/dt=2025-01-10/part-0.parquet", {})
    with pytest.raises(WrongArchive, match=r"Restore the object, or use another prefix in KROS_ARCHIVE_URL"):
        of(store).check()
    with pytest.raises(WrongArchive):
        of(store).claim()
    assert read_json(store, ARCHIVE_IDENTITY) is None


def test_a_folder_marker_is_no_table(store: MemoryObjectStore) -> None:
    create_json(store, "tables/calls/", {})
    assert not of(store).check()


def test_an_archive_that_another_run_begins_meanwhile_is_not_refused(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no identity when that was read, and has tables when they are listed."""
    listed: Callable[[str], Any] = store.list

    def begin_first(prefix: str) -> Any:
        create_json(store, ARCHIVE_IDENTITY, {"base_url": API, "organization_id": None, "format": 2})
        create_json(store, "tables/calls/dt=2025-01-10/part-0.parquet", {})
        return listed(prefix)

    monkeypatch.setattr(store, "list", begin_first)
    assert of(store).check()


@pytest.mark.parametrize("archive_format", [3, 0, None, "2"])
def test_another_format_is_refused_with_a_sentence(store: MemoryObjectStore, archive_format: object) -> None:
    replace_json(store, ARCHIVE_IDENTITY, {"base_url": API, "organization_id": None, "format": archive_format})
    with pytest.raises(WrongArchive, match=r"has format .*knows formats up to 2. Install the version that wrote it"):
        of(store).check()
