"""The page of one call, its recording, its waveform, and the check of its hash."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import yaml
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..archive.object_store import ObjectStore
from ..core.clock import Clock
from ..core.object_keys import audio_key, call_key_in, held_prefix
from ..core.search_terms import find_marks
from ..core.statuses import RecordingStatus
from ..core.turn_times import TurnTime, turn_times
from .access import viewer_of
from .access_log import AccessLog
from .audio import RangeRefused, iterate_range, open_recording, parse_range
from .call_filter import parse_filter
from .call_states import describe_recording, describe_transcript, rule_marks
from .day_index import DayIndex, IndexedTurn, WholeCall
from .day_seals import DaySeals
from .erased_calls import ErasedCalls
from .index_cache import IndexCache
from .peaks import PeakReader, Peaks
from .phone_masking import mask_numbers_in
from .rendering import Renderer, Segment, cut_into_segments
from .review_form import ReviewForm
from .reviews import Reviews
from .slow_work import SlowWork

_ERASED = "This call was erased. The archive has nothing of it any more, and nobody can bring it back."
_STREAM_LOOK_SECONDS = 1.0  # how old the look at the tombstones may be while a recording is sent


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """A turn as the page shows it. `is_marked` where a rule names the whole turn."""

    turn: IndexedTurn
    segments: list[Segment]
    time: TurnTime | None
    is_marked: bool


class CallFinder:
    """Finds the call that an address names, and refuses erased ones before anything is read."""

    def __init__(self, cache: IndexCache, erased: ErasedCalls):
        self._cache, self._erased = cache, erased

    def find(self, request: Request) -> tuple[DayIndex, WholeCall]:
        """Return the day's index and the call. Raises 410 for an erased call, and 404 for one that is not there."""
        day, key = self._place(request)
        if self._erased.is_erased(key):
            raise HTTPException(410, _ERASED)
        index = self._cache.open(day)
        call = index.call(key) if index is not None else None
        if index is None or call is None:
            raise HTTPException(404, f"The archive has no such call on {day}. The list of calls shows what it has.")
        return index, call

    def is_erased(self, key: str, *, max_age_seconds: float) -> bool:
        """Return whether a call was erased meanwhile."""
        return self._erased.is_erased(key, max_age_seconds=max_age_seconds)

    def _place(self, request: Request) -> tuple[date, str]:
        try:
            return date.fromisoformat(request.path_params["day"]), request.path_params["key"]
        except ValueError:
            raise HTTPException(404, "The address has a day that is none.") from None


class CallPages:
    """One call: page, recording, peaks, hash."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        finder: CallFinder,
        cache: IndexCache,
        store: ObjectStore,
        access_log: AccessLog,
        reviews: Reviews,
        form: ReviewForm,
        clock: Clock,
        decoders: SlowWork,
        slow_work: SlowWork,
        dagster_url: str,
    ):
        self._renderer, self._finder, self._cache, self._store = renderer, finder, cache, store
        self._log, self._reviews, self._form, self._clock = access_log, reviews, form, clock
        self._decoders, self._slow_work = decoders, slow_work
        self._dagster_url, self._peaks, self._seals = dagster_url, PeakReader(store), DaySeals(store, clock)

    def routes(self) -> list[Route]:
        """Return the addresses of one call."""
        return [
            Route("/call/{day}/{key}", self.page),
            Route("/call/{day}/{key}/audio", self.audio),
            Route("/call/{day}/{key}/peaks", self.peaks),
            Route("/call/{day}/{key}/hash", self.check_hash, methods=["POST"]),
        ]

    def page(self, request: Request) -> Response:
        """Show a call beside its recording."""
        viewer = viewer_of(request)
        index, call = self._finder.find(request)
        self._log.read(viewer.name, [(index.day, call.row.call_id)], "page")
        before, after = index.beside(call.row.no)
        prefix = held_prefix(index.day)
        return self._renderer.page(
            request,
            "call.html",
            call=call,
            day=index.day,
            before=before,
            after=after,
            turns=self._shown_turns(request, call),
            recording=describe_recording(call.row.recording_state),
            transcript=describe_transcript(call.row.transcript),
            is_archived=call.row.recording == RecordingStatus.ARCHIVED,
            holds=sum(1 for entry in self._store.list(f"{prefix}{call.row.key}.") if call_key_in(entry.key)),
            seal=self._seals.describe(index.day, call.row.call_id, call.recording.get("sha256")),
            reviews=self._reviews.of_call(index.day, call.row.key),
            form=self._form,
            query=request.url.query,
            export_url=evidence_url(self._dagster_url, call.row.call_id),
            problem="",
        )

    def _shown_turns(self, request: Request, call: WholeCall) -> list[ShownTurn]:
        viewer = viewer_of(request)
        wanted = parse_filter(request.url.query, self._clock.now().date(), None, may_find_digits=viewer.sees_numbers)
        terms = wanted.found_terms
        of_rules = rule_marks(call.flags)
        times = turn_times(
            [turn.start_seconds for turn in call.turns],
            [len(turn.text) for turn in call.turns],
            call.row.duration_seconds,
        )
        shown = []
        for turn, time in zip(call.turns, times, strict=True):
            places = of_rules.get(turn.turn_index, [])
            found = [(begin, end, "found") for begin, end in find_marks(turn.text, terms)] if terms else []
            text = turn.text if viewer.sees_numbers else mask_numbers_in(turn.text)
            is_marked = turn.turn_index in of_rules and not places
            shown.append(ShownTurn(turn, cut_into_segments(text, [*places, *found]), time, is_marked))
        return shown

    def audio(self, request: Request) -> Response:
        """Send the recording, or the part of it that the player asks for."""
        viewer = viewer_of(request)
        if not viewer.may_listen:
            raise HTTPException(403, f"Your role is {viewer.role}: it does not hear recordings.")
        index, call = self._finder.find(request)
        recording = (
            open_recording(self._store, audio_key(index.day, call.row.call_id))
            if call.row.recording == RecordingStatus.ARCHIVED
            else None
        )
        if recording is None:
            raise HTTPException(404, _missing(call))
        headers, range_header = {"Accept-Ranges": "bytes"}, request.headers.get("range")
        try:
            # No answer has a validator, so that none can match: the whole recording, as RFC 9110 says.
            asked = None if "if-range" in request.headers else parse_range(range_header, recording.size_bytes)
        except RangeRefused:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{recording.size_bytes}"})
        begin, end = asked or (0, recording.size_bytes)
        headers["Content-Length"] = str(end - begin)
        if asked:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{recording.size_bytes}"
        status = 206 if asked else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=recording.content_type)
        self._log.played(viewer.name, index.day, call.row.call_id, from_begin=begin == 0)
        key = call.row.key
        pieces = iterate_range(
            self._store, recording, begin, end,
            lambda: not self._finder.is_erased(key, max_age_seconds=_STREAM_LOOK_SECONDS),
        )  # fmt: skip
        return StreamingResponse(pieces, status, headers, recording.content_type)

    async def peaks(self, request: Request) -> Response:
        """Send what the waveform is drawn from; no values where the recording cannot be decoded here."""
        index, call, cached, peaks = await run_in_threadpool(self._find_peaks, request)
        if peaks is None:
            peaks = await self._decoders.run(self._compute_peaks, index.day, call, cached)
        return JSONResponse({"peaks": peaks.values, "seconds": peaks.duration_seconds})

    def _find_peaks(self, request: Request) -> tuple[DayIndex, WholeCall, Path, Peaks | None]:
        if not viewer_of(request).may_listen:
            raise HTTPException(403, "Your role does not hear recordings.")
        index, call = self._finder.find(request)
        digest = call.recording.get("sha256")
        if call.row.recording != RecordingStatus.ARCHIVED or not digest:
            raise HTTPException(404, _missing(call))
        cached = self._cache.peaks_path(index.day, digest)
        return index, call, cached, self._peaks.read_kept(cached)

    def _compute_peaks(self, day: date, call: WholeCall, cached: Path) -> Peaks:
        peaks = self._peaks.compute(audio_key(day, call.row.call_id), cached)
        if self._finder.is_erased(call.row.key, max_age_seconds=0):
            cached.unlink(missing_ok=True)  # the erasure came while they were computed
            raise HTTPException(410, _ERASED)
        if peaks is None:
            raise HTTPException(404, _missing(call))
        return peaks

    async def check_hash(self, request: Request) -> Response:
        """Read the recording and compare its SHA-256 with the table's, now."""
        return await self._slow_work.run(self._check_hash, request)

    def _check_hash(self, request: Request) -> Response:
        index, call = self._finder.find(request)
        found = self._store.digest(audio_key(index.day, call.row.call_id))
        expected = call.recording.get("sha256")
        return self._renderer.page(
            request,
            "hash.html",
            found=found,
            expected=expected,
            is_same=found is not None and found[0] == expected,
            checked_at=self._clock.now(),
        )


def evidence_url(dagster_url: str, call_id: str) -> str:
    """Return the address of the job `export_evidence` in the Dagster UI, with the call filled in.

    Whoever follows it writes reason and folder; it opens as a dry run, so that nothing is written by a click.
    """
    asked = {"call_ids": [call_id], "day": "", "reason": "", "folder": "", "as_zip": False, "dry_run": True}
    config = {"ops": {"export": {"config": asked}}}
    text = quote(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), safe="")
    return f"{dagster_url}/locations/kros_pipeline/jobs/export_evidence/playground/setup?config={text}"


def _missing(call: WholeCall) -> str:
    if call.row.recording == RecordingStatus.ARCHIVED:
        return (
            "The bucket does not have this recording, though the table names it. An operator should launch the job "
            "verify_archive for this day."
        )
    return describe_recording(call.row.recording_state).sentence
