"""How far the webhook deliveries were read is stored, and never goes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kros_pipeline.archive.delivery_progress import DeliveryGap, DeliveryProgress, read_progress, save_progress
from kros_pipeline_tests.support.memory_store import MemoryObjectStore


def hour(number: int) -> datetime:
    return datetime(2025, 1, 10, number, 30, 15, 250_000, tzinfo=UTC)


GAP = DeliveryGap(newest=hour(9), end=hour(7), page=3)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> MemoryObjectStore:
    return MemoryObjectStore("progress", request.node.name)


@pytest.mark.parametrize(
    "progress", [DeliveryProgress(hour(5)), DeliveryProgress(hour(5), GAP), DeliveryProgress(None, GAP)]
)
def test_it_is_read_as_it_was_saved(store: MemoryObjectStore, progress: DeliveryProgress) -> None:
    assert read_progress(store) == DeliveryProgress()
    save_progress(store, progress)
    assert read_progress(store) == progress


@pytest.mark.parametrize(
    "later", [DeliveryProgress(hour(4)), DeliveryProgress(hour(4), GAP), DeliveryProgress(None, GAP)]
)
def test_a_run_that_read_less_does_not_take_it_back(store: MemoryObjectStore, later: DeliveryProgress) -> None:
    save_progress(store, DeliveryProgress(hour(5)))
    save_progress(store, later)
    assert read_progress(store) == DeliveryProgress(hour(5))


def test_a_gap_is_written_and_closed(store: MemoryObjectStore) -> None:
    for progress in (DeliveryProgress(hour(5)), DeliveryProgress(hour(5), GAP), DeliveryProgress(hour(9))):
        save_progress(store, progress)
        assert read_progress(store) == progress
