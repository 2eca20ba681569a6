"""A key is made of hostile input, and cannot be made to mean anything but its own call."""

import re
from datetime import date

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kros_pipeline.core import object_keys
from kros_pipeline.core.object_keys import (
    audio_key,
    audio_prefix,
    call_key,
    decision_key,
    extension_request,
    extensions_prefix,
    listing_key,
    quarantine_key,
    request_key,
    table_key,
    table_prefix,
    unparsed_key,
    unparsed_prefix,
)

DAY = date(2025, 1, 10)
SHA256 = "0123456789abcdef" * 4
PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")
ENCODED = re.compile(r"sha256\.[a-z2-7]{52}")
HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "a/b",
    "../../x",
    "a/../b",
    "\x00",
    "a\nb",
    "a.mp3",
    "é",
    "e\u0301",
    "\ud800",
    "🙂",
    " a",
    "a ",
    "a%2Fb",
]
HOSTILE += [
    "sha256.",
    call_key("x y"),
    "a" * 129,
    "-" * 5_000,
    "🙂" * 2_000,
    "+2348012345678",
    "?versionId=1",
    "dt=2025-01-11/a",
    "a\\b",
]
ids = st.one_of(st.text(st.characters()), st.from_regex(r"\A[A-Za-z0-9_-]{1,128}\Z"), st.sampled_from(HOSTILE))


@given(ids, ids)
@example("a", "A")
@example("x y", call_key("x y"))
@example("é", "e\u0301")
def test_distinct_ids_have_distinct_keys(one: str, other: str) -> None:
    assume(one != other)
    assert call_key(one) != call_key(other)


@given(ids)
def test_a_key_is_one_plain_segment_of_ascii(call_id: str) -> None:
    key = call_key(call_id)
    assert (PLAIN.fullmatch(call_id) and key == call_id) or ENCODED.fullmatch(key)


@given(ids)
def test_no_id_escapes_from_its_folder_or_outgrows_s3(call_id: str) -> None:
    keys = {
        audio_prefix(DAY): audio_key(DAY, call_id),
        "quarantine/dt=2025-01-10/": quarantine_key(DAY, call_id, SHA256),
    }
    for prefix, key in keys.items():
        assert key.startswith(prefix)
        assert "/" not in key.removeprefix(prefix)
        assert len(("p" * 512 + "/" + key).encode("ascii")) <= 1024


@pytest.mark.parametrize(
    ("call_id", "key"),
    [
        # documented forms
        *(
            (call_id, call_id)
            for call_id in ("call_abc123", "0b8e2c9a-5b1d-4c39-9c1c-0d0f6b6f7b7e", "A", "_", "-", "a" * 128)
        ),
        # everything else, pinned: a key that moved would orphan its object
        ("", "sha256.4oymiquy7qobjgx36tejs35zeqt24qpemsnzgtfeswmrw6csxbkq"),
        ("../../x", "sha256.ttpwuuaqbkdc4fbinr5dgquw3l35vc2f2shcambeetfhfg3cumna"),
    ],
)
def test_a_plain_id_is_its_own_key_and_any_other_is_hashed(call_id: str, key: str) -> None:
    assert call_key(call_id) == key


@pytest.mark.parametrize("call_id", HOSTILE)
def test_nothing_of_a_hostile_id_is_left_in_its_key(call_id: str) -> None:
    assert ENCODED.fullmatch(call_key(call_id)) or PLAIN.fullmatch(call_id)


# The layout is a contract.


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (audio_key(DAY, "call_abc123"), "audio/dt=2025-01-10/call_abc123.mp3"),
        (audio_prefix(DAY), "audio/dt=2025-01-10/"),
        (table_prefix("calls"), "tables/calls/"),
        (table_key("calls", DAY), "tables/calls/dt=2025-01-10/part-0.parquet"),
        (quarantine_key(DAY, "call_abc123", SHA256), "quarantine/dt=2025-01-10/call_abc123-0123456789abcdef.bin"),
        (unparsed_prefix(DAY), "state/unparsed/dt=2025-01-10/"),
        (unparsed_key(DAY, SHA256), f"state/unparsed/dt=2025-01-10/{SHA256[:32]}.json"),
        (listing_key(DAY), "state/listings/dt=2025-01-10.json"),
        (extensions_prefix(DAY), "state/extensions/dt=2025-01-10/"),
        (
            request_key(extensions_prefix(DAY), extension_request("d1", 2), "intent"),
            "state/extensions/dt=2025-01-10/d1/002-intent.json",
        ),
        (decision_key("3919813956be2358"), "state/decisions/39/3919813956be2358.json"),
        (object_keys.ARCHIVE_IDENTITY, "state/archive.json"),
        (object_keys.TOMBSTONES_MARKER, "state/erased.json"),
        (audio_key(date(987, 6, 5), "a"), "audio/dt=0987-06-05/a.mp3"),
    ],
)
def test_everything_lies_where_the_archive_says(key: str, expected: str) -> None:
    assert key == expected


def test_attempts_sort_as_they_were_made() -> None:
    keys = [extension_request("d1", attempt) for attempt in (1, 2, 9, 10, 99, 100)]
    assert keys == sorted(keys)
