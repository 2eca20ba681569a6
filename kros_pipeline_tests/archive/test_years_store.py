"""The generated archive of years lists what it gives, in order, and counts each page."""

from __future__ import annotations

import io
from datetime import date

import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.object_store import Replace
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import audio_prefix, table_key
from kros_pipeline_tests.support.years_store import YearsStore

DAY = date(2025, 1, 5)
KEY = table_key("calls", DAY)


@pytest.fixture
def years() -> YearsStore:
    return YearsStore(12, 20, flagged_every=5)


def test_every_listed_object_has_the_size_of_its_body(years: YearsStore) -> None:
    entries = list(years.list(""))
    keys = [entry.key for entry in entries]
    assert keys == sorted(set(keys)) and len(keys) == 12 * (20 + 1 + 2 + 3 * 4 + 2 + 7)
    for entry in entries:
        if not entry.key.startswith("audio/"):
            body = years.read(entry.key)
            assert body is not None and len(body) == entry.size_bytes, entry


@pytest.mark.parametrize(
    "prefix", ["a", "audio/dt=2025-01-0", "state/decisions/0", KEY, KEY[:-5], "state/lis", "tables/", "zz"]
)
def test_a_listing_below_a_prefix_is_a_part_of_the_whole(years: YearsStore, prefix: str) -> None:
    keys = [entry.key for entry in years.list("")]
    below = [key for key in keys if key.startswith(prefix)]
    assert [entry.key for entry in years.list(prefix)] == below
    for after in (keys[3], keys[100], "state/", "audio/dt=2025-01-05/zzz", keys[-2]):
        assert [entry.key for entry in years.list(prefix, after=after)] == [key for key in below if key > after]


def test_the_tables_of_a_day_are_whole_and_of_that_day(years: YearsStore) -> None:
    for name, table in schemas.TABLES.items():
        found = pq.read_table(io.BytesIO(years.read(table_key(name, DAY)) or b""))
        found.validate(full=True)
        assert set(found.column("call_date").to_pylist()) == {DAY}
        assert found.schema.equals(table.schema)
        if name != "reconciliation":
            assert set(found.column("call_id").to_pylist()) <= set(years.generated.ids(DAY))


def test_what_is_written_lies_on_top_and_every_version_stays(years: YearsStore) -> None:
    head = years.head(KEY)
    assert head is not None
    sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    years.put(KEY, b"foo", sha256=sha256, mode=Replace(head.version))
    assert years.read(KEY) == b"foo" and [entry.size_bytes for entry in years.list(KEY)] == [3]
    new, old = years.versions(KEY)
    assert (new.is_latest, old.is_latest, old.size_bytes) == (True, False, head.size_bytes)
    assert len(years.read_version(old) or b"") == head.size_bytes
    years.delete([old, new])
    assert years.read(KEY) is None and list(years.versions(KEY)) == [] and years.read_version(old) is None


def test_each_page_of_a_thousand_counts(years: YearsStore) -> None:
    big = YearsStore(2, 2_500)
    assert len(list(big.list(audio_prefix(big.days[0])))) == 2_500
    assert big.requests == {("list", "audio"): 3} and big.requests_made == big.writes_made == 3
