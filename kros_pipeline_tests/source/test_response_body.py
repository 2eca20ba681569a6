"""Bodies are read whole, under a deadline, and a slow one does not delay the others."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kros_pipeline.source.response_body import BrokenBody, ReadingTurns, declared_length, read_into
from kros_pipeline.steps.run_context import SYSTEM_CLOCK as CLOCK


def test_a_body_that_waits_for_the_network_does_not_delay_the_others() -> None:
    turns, others_came = ReadingTurns(1), threading.Event()
    semaphore = turns._semaphore  # noqa: SLF001 - nothing public shows which turns are taken

    class Answer:
        """An answer of two pieces; the second comes after an event."""

        def __init__(self, comes: threading.Event) -> None:
            self.fp, self.length, self._comes = self, 4, comes

        def readinto1(self, memory: memoryview) -> int:
            if self.length == 2 and not self._comes.wait(timeout=20):
                raise TimeoutError
            memory[:2] = b"ab"
            return 2

    def read(comes: threading.Event) -> int:
        response: Any = SimpleNamespace(raw=SimpleNamespace(_fp=Answer(comes), read=lambda: b""))
        return read_into(response, memoryview(bytearray(4)), seconds=60, turns=turns, clock=CLOCK)

    at_once = threading.Event()
    at_once.set()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(read, others_came)
        while semaphore.acquire(blocking=False):  # until it has the only turn
            semaphore.release()
        assert [read(at_once) for _ in range(2)] == [4, 4] and not slow.done()
        others_came.set()
        assert slow.result() == 4
    assert semaphore.acquire(blocking=False) and not semaphore.acquire(blocking=False)  # given back, once


def test_a_body_that_came_at_once_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = ReadingTurns(1)
    monkeypatch.setattr(turns._semaphore, "acquire", None)  # noqa: SLF001 - to take a turn is an error here
    answer = SimpleNamespace(fp=SimpleNamespace(readinto1=io.BytesIO(b"abcd").readinto), length=4)
    response: Any = SimpleNamespace(raw=SimpleNamespace(_fp=answer, read=lambda: b""))
    memory = memoryview(bytearray(4))
    assert read_into(response, memory, seconds=60, turns=turns, clock=CLOCK) == 4 and bytes(memory) == b"abcd"


@pytest.mark.parametrize(
    "private",
    [
        {},
        {"_fp": None},
        {"_fp": SimpleNamespace(fp=None, length=4)},
        {"_fp": SimpleNamespace(fp=SimpleNamespace(), length=4)},
        {"_fp": SimpleNamespace(fp=SimpleNamespace(readinto1=None), length=None)},
    ],
    ids=["missing", "none", "no file", "no readinto1", "no length"],
)
@pytest.mark.parametrize(("sent", "came"), [(b"abcd", 4), (b"ab", 2)])
def test_without_urllib3s_private_response_the_public_way_gives_the_same_bytes(
    private: dict[str, Any], sent: bytes, came: int
) -> None:
    response: Any = SimpleNamespace(raw=SimpleNamespace(read1=io.BytesIO(sent).read, **private))
    memory = memoryview(bytearray(4))
    assert read_into(response, memory, seconds=60, turns=ReadingTurns(1), clock=CLOCK) == came
    assert bytes(memory[:came]) == sent


def test_without_urllib3s_private_response_a_body_that_is_longer_than_declared_is_broken() -> None:
    response: Any = SimpleNamespace(raw=SimpleNamespace(read1=io.BytesIO(b"abcde").read))
    with pytest.raises(BrokenBody, match="larger"):
        read_into(response, memoryview(bytearray(4)), seconds=60, turns=ReadingTurns(1), clock=CLOCK)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"Content-Length": "12"}, 12),
        ({"Content-Length": "12", "Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "12, 12"}, None),
        ({"Content-Length": "-1"}, None),
        ({"Content-Length": "9" * 5_000}, None),  # which `int` refuses
        ({}, None),
    ],
)
def test_a_declared_length_is_sound_or_none(headers: dict[str, str], length: int | None) -> None:
    assert declared_length(cast(Any, SimpleNamespace(headers=headers))) == length
