"""A call source in memory that makes its answers when it is asked, and keeps none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from benchmarks.scale.made_calls import AUDIO_BYTES, AUDIO_SECONDS, MadeCalls
from kros_pipeline.core.call_counters import CallCounter
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import AudioGone
from kros_pipeline.source.call_source import Body, ListedCall, Page, RecordingAnswer, TranscriptAnswer, Window
from kros_pipeline.source.pager import read_pages
from kros_pipeline_tests.support.fake_call_source import SIGNATURE, STORAGE, FakeCallSource


class MadeSource(FakeCallSource):
    """The account of `MadeCalls`: its list is newest first, in pages of a hundred, and understands dates."""

    def __init__(self, made: MadeCalls, clock: Clock) -> None:
        super().__init__((), clock)
        self.made = made

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        self._count_request()
        made = self.made
        numbers = made.between(window.start, window.end) if window is not None else range(made.count)
        shown = numbers[::-1][offset : offset + self.page_limit]
        return Page([self._listed(number) for number in shown], [], len(numbers), self.page_limit)

    def pages(self, window: Window, *, prefetch: int = 0, first: Page | None = None) -> Iterator[Page]:
        """Yield the pages by the pipeline's own pager. Nothing is asked for ahead: the answers do not wait."""

        def fetch(offset: int, page_number: int) -> Page:
            return self.list_page(window, offset, page_number)

        return read_pages(fetch, page_limit=self.page_limit, first=first)

    def recording(self, call_id: str) -> RecordingAnswer:
        self._count_request()
        return RecordingAnswer(_url_of(call_id), AUDIO_SECONDS, AUDIO_BYTES)

    def transcript(self, call_id: str) -> TranscriptAnswer:
        self._count_request()
        text = self.made.text(self.made.number_of(call_id))
        return TranscriptAnswer(text, len(text.split()), None, None)

    def statistics(self, window: Window) -> list[CallCounter]:
        self._count_request()
        count = len(self.made.between(window.start, window.end))
        return [CallCounter("stats.completed_calls", count, counts_completed=True)]

    def trends(self, day: date) -> list[CallCounter]:
        self._count_request()
        count = self.made.count if day == self.made.day else 0
        return [CallCounter("trends.completed", count, counts_completed=True)]

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        self._count_request()

    @contextmanager
    def open_recording(self, url: str) -> Iterator[Body]:
        call_id = url.removeprefix(STORAGE).removesuffix(f".mp3{SIGNATURE}")
        number = self.made.number_of(call_id)
        if number >= self.made.count:
            raise AudioGone("the storage has no such recording (status 404)")
        yield Body(self.made.audio(number), None, AUDIO_BYTES, self.made.sha256(number))

    def _listed(self, number: int) -> ListedCall:
        call = self.made.call(number)
        return ListedCall(call, _url_of(call.call_id))


def _url_of(call_id: str) -> str:
    return f"{STORAGE}{call_id}.mp3{SIGNATURE}"
