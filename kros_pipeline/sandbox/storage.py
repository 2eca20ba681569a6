"""Answer the requests of the recording storage: presigned GETs of MP3 files, and the faults of their answers."""

from __future__ import annotations

import gzip
import random
from urllib.parse import unquote

from . import answers
from .calls import Call
from .http_server import Answer, Ending, Request
from .mp3 import FRAME_BYTES, mp3_audio, wav_audio, wav_audio_of_size
from .world import World

_FOLDER = "/recordings/"
_SUFFIX = ".mp3"


class Storage:
    """The recording storage of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, request: Request) -> Answer:
        """Answer a request, and count it."""
        world = self._world
        world.counters.storage_requests += 1
        world.counters.storage_connections += request.is_first
        answer = self._answer(request)
        answer.delay_seconds += world.fault_injector.faults.storage_latency_seconds
        world.counters.storage_responses_by_status[str(answer.status)] += 1
        return answer

    def _answer(self, request: Request) -> Answer:
        world = self._world
        if "x-api-key" in request.headers or "authorization" in request.headers:
            world.counters.leaked_credentials += 1
            return answers.storage_error(400, "Only one auth mechanism allowed")
        if request.method != "GET":
            return answers.storage_error(405, "The specified method is not allowed against this resource.")
        if refusal := world.signer.find_refusal(request.path, request.query, now=world.now()):
            return answers.storage_error(403, refusal)
        call_id = unquote(request.path.removeprefix(_FOLDER).removesuffix(_SUFFIX))
        call = world.find(call_id, with_foreign=True)
        if call is None or not call.recorded or call.id in world.deleted:
            return answers.storage_error(404, "The specified key does not exist.")
        if world.fault_injector.is_active and (faulty := self._inject_fault(call)):
            return faulty
        body = mp3_audio(world.config.seed, call.id, call.audio_frames)
        world.counters.downloads_by_call[call.id] += 1
        world.counters.audio_bytes += len(body)
        return _audio(body)

    def _inject_fault(self, call: Call) -> Answer | None:
        """Return the answer of the first storage fault that applies to the download."""
        return self._refuse(call) or self._replace_body(call) or self._damage_body(call)

    def _refuse(self, call: Call) -> Answer | None:
        """Answer with another status than 200."""
        trigger = self._world.trigger_fault
        if trigger("storage_denied", call.id):
            return answers.storage_error(403, "Request has expired")
        if trigger("storage_missing", call.id):
            return answers.storage_error(404, "The specified key does not exist.")
        if trigger("storage_gone", call.id):
            return answers.storage_error(410, "The recording is gone.")
        if fault := trigger("storage_error", call.id):
            return answers.storage_error(int(fault.value or 500), "We encountered an internal error. Please try again.")
        if trigger("storage_slow_down", call.id):
            return answers.storage_error(503, "Please reduce your request rate.")
        if fault := trigger("storage_redirect", call.id):
            return Answer(302, headers={"Location": str(fault.value or self._world.mint_valid_url(call.id))})
        return None

    def _replace_body(self, call: Call) -> Answer | None:
        """Answer 200 with a body that is not the call's audio."""
        trigger, seed = self._world.trigger_fault, self._world.config.seed
        if trigger("storage_html", call.id):
            return Answer(200, answers.HTML_PAGE, "text/html")
        if trigger("storage_json", call.id):
            return Answer(200, b'{"error": "Recording is temporarily unavailable", "code": "UNAVAILABLE"}')
        if trigger("storage_empty", call.id):
            return _audio(b"")
        if fault := trigger("storage_other_length", call.id):
            return _audio(mp3_audio(seed, call.id, max(1, int(call.audio_frames * float(fault.value or 0.5)))))
        if fault := trigger("storage_wav", call.id):
            is_whole, size_bytes = fault.value == "whole", call.audio_frames * FRAME_BYTES
            return _audio(wav_audio_of_size(size_bytes) if is_whole else wav_audio(min(call.duration_seconds, 10)))
        return None

    def _damage_body(self, call: Call) -> Answer | None:
        """Answer with the call's audio, damaged, cut or slow."""
        trigger = self._world.trigger_fault
        body = mp3_audio(self._world.config.seed, call.id, call.audio_frames)
        half, whole = body[: len(body) // 2], len(body)
        if trigger("storage_reset", call.id):
            return _audio(half, declared_bytes=whole, ending="reset")
        if trigger("storage_truncated", call.id):
            return _audio(half, declared_bytes=whole, ending="close")
        if trigger("storage_cut_silently", call.id):
            return _audio(half, declared_bytes=None, ending="close")
        if trigger("storage_rubbish", call.id):
            return _audio(bytes(half) + random.Random(call.id).randbytes(whole - len(half)))
        if trigger("storage_longer", call.id):
            return _audio(bytes(body) + bytes(half), declared_bytes=whole, ending="close")
        if fault := trigger("storage_slow", call.id):
            return _audio(body, body_seconds=float(fault.value or 5))
        if trigger("storage_gzip", call.id):
            packed = _audio(gzip.compress(body, compresslevel=1, mtime=0))
            packed.headers["Content-Encoding"] = "gzip"
            return packed
        return None


def _audio(
    body: bytes | memoryview,
    *,
    declared_bytes: int | None = -1,
    ending: Ending = "keep",
    body_seconds: float = 0.0,
) -> Answer:
    return Answer(200, body, "audio/mpeg", declared_bytes=declared_bytes, ending=ending, body_seconds=body_seconds)
