"""The recording storage: presigned GETs of MP3 files, and everything that can be wrong with their answers."""

from __future__ import annotations

import gzip
import random
from urllib.parse import unquote

from kros_pipeline.sandbox import answers
from kros_pipeline.sandbox.calls import Call
from kros_pipeline.sandbox.http_server import Answer, Ending, Request
from kros_pipeline.sandbox.mp3 import mp3_audio, wav_audio
from kros_pipeline.sandbox.world import World

_FOLDER = "/recordings/"
_SUFFIX = ".mp3"


class Storage:
    """Answers the requests of one world's storage."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, request: Request) -> Answer:
        """The answer, counted."""
        world = self._world
        world.counters.storage_requests += 1
        world.counters.storage_connections += request.first
        answer = self._answer(request)
        answer.delay_seconds += world.switchboard.faults.storage_latency_seconds
        world.counters.storage_responses_by_status[str(answer.status)] += 1
        return answer

    def _answer(self, request: Request) -> Answer:
        world = self._world
        if "x-api-key" in request.headers or "authorization" in request.headers:
            world.counters.leaked_credentials += 1
            return answers.storage_error(400, "Only one auth mechanism allowed")
        if request.method != "GET":
            return answers.storage_error(405, "The specified method is not allowed against this resource.")
        if refusal := world.signer.refusal(request.path, request.query, now=world.now()):
            return answers.storage_error(403, refusal)
        call_id = unquote(request.path.removeprefix(_FOLDER).removesuffix(_SUFFIX))
        call = world.find(call_id)
        if call is None or not call.recorded or call.id in world.deleted:
            return answers.storage_error(404, "The specified key does not exist.")
        if world.switchboard.active and (broken := self._broken(call)):
            return broken
        body = mp3_audio(world.config.seed, call.id, call.audio_frames)
        world.counters.downloads_by_call[call.id] += 1
        world.counters.audio_bytes += len(body)
        return _audio(body)

    def _broken(self, call: Call) -> Answer | None:
        """What a knob makes of the download."""
        return self._refused(call) or self._replaced(call) or self._spoilt(call)

    def _refused(self, call: Call) -> Answer | None:
        """Another status than 200."""
        hits = self._world.hits
        if hits("storage_denied", call.id):
            return answers.storage_error(403, "Request has expired")
        if hits("storage_missing", call.id):
            return answers.storage_error(404, "The specified key does not exist.")
        if hits("storage_gone", call.id):
            return answers.storage_error(410, "The recording is gone.")
        if fault := hits("storage_error", call.id):
            return answers.storage_error(int(fault.value or 500), "We encountered an internal error. Please try again.")
        if hits("storage_slow_down", call.id):
            return answers.storage_error(503, "Please reduce your request rate.")
        if fault := hits("storage_redirect", call.id):
            return Answer(302, headers={"Location": str(fault.value or self._world.own_url(call.id))})
        return None

    def _replaced(self, call: Call) -> Answer | None:
        """Status 200 and a body that is not the call's audio."""
        hits, seed = self._world.hits, self._world.config.seed
        if hits("storage_html", call.id):
            return Answer(200, answers.HTML_PAGE, "text/html")
        if hits("storage_json", call.id):
            return Answer(200, b'{"error": "Recording is temporarily unavailable", "code": "UNAVAILABLE"}')
        if hits("storage_empty", call.id):
            return _audio(b"")
        if fault := hits("storage_other_length", call.id):
            return _audio(mp3_audio(seed, call.id, max(1, int(call.audio_frames * float(fault.value or 0.5)))))
        if hits("storage_wav", call.id):
            return _audio(wav_audio(min(call.duration_seconds, 10)))
        return None

    def _spoilt(self, call: Call) -> Answer | None:
        """The call's audio, damaged or hindered on its way."""
        hits = self._world.hits
        body = mp3_audio(self._world.config.seed, call.id, call.audio_frames)
        half, whole = body[: len(body) // 2], len(body)
        if hits("storage_reset", call.id):
            return _audio(half, declared_bytes=whole, ending="reset")
        if hits("storage_truncated", call.id):
            return _audio(half, declared_bytes=whole, ending="close")
        if hits("storage_cut_silently", call.id):
            return _audio(half, declared_bytes=None, ending="close")
        if hits("storage_rubbish", call.id):
            return _audio(bytes(half) + random.Random(call.id).randbytes(whole - len(half)))
        if hits("storage_longer", call.id):
            return _audio(bytes(body) + bytes(half), declared_bytes=whole, ending="close")
        if fault := hits("storage_slow", call.id):
            return _audio(body, drip_seconds=float(fault.value or 5))
        if hits("storage_gzip", call.id):
            packed = _audio(gzip.compress(body, compresslevel=1, mtime=0))
            packed.headers["Content-Encoding"] = "gzip"
            return packed
        return None


def _audio(
    body: bytes | memoryview,
    *,
    declared_bytes: int | None = -1,
    ending: Ending = "keep",
    drip_seconds: float = 0.0,
) -> Answer:
    return Answer(200, body, "audio/mpeg", declared_bytes=declared_bytes, ending=ending, drip_seconds=drip_seconds)
