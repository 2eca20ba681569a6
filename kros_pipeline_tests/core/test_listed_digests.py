"""A call is found among the digests of a listing by whole digests only, and what is cut is reported."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from kros_pipeline.core.id_digests import digest_id, pack_digests
from kros_pipeline.core.listed_digests import find_listed
from kros_pipeline.core.listing import DIGEST_FIELDS

A, B, C = (digest_id(name) for name in "abc")
ACROSS = A[4:] + B[:4]


@pytest.mark.parametrize("name", DIGEST_FIELDS)
def test_every_field_that_names_calls_is_searched(name: str) -> None:
    assert find_listed({name: pack_digests([A, B])}, {A, C}) == {A}


@pytest.mark.parametrize(
    ("joined", "found"),
    [
        (A + B, set()),
        (A + B + ACROSS, {ACROSS}),
        (ACROSS, {ACROSS}),
        (b"", set()),
        (A + ACROSS[4:] + ACROSS[:4], set()),
    ],
)
def test_bytes_of_two_neighbours_are_no_digest(joined: bytes, found: set[bytes]) -> None:
    assert find_listed({"call_digests": b64encode(joined).decode()}, {ACROSS}) == found


@pytest.mark.parametrize("stored", [None, [], {}, {"call_digests": None}, {"call_digests": 7}])
def test_what_names_no_calls_has_none(stored: Any) -> None:
    assert find_listed(stored, {A}) == set()


@pytest.mark.parametrize("packed", ["?", b64encode(A[:-1]).decode()])
def test_digests_that_are_cut_are_reported(packed: str) -> None:
    with pytest.raises(ValueError, match=r"cut|base64"):
        find_listed({"call_digests": packed}, {A})
