"""Answer the requests of the KrosAI API: authentication, rate limit and routes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from urllib.parse import unquote

from . import answers
from .calls import Call
from .events import make_events
from .http_server import Answer, Request
from .listing import Listing
from .mp3 import FRAME_BYTES
from .rate_limit import RateLimit
from .rendering import Renderer
from .transcripts import write_transcript
from .webhook import Webhook
from .world import World, format_time

_MOST_DAYS = 366

_CALL_ROUTES = {
    ("GET", ""): "call",
    ("GET", "recording"): "recording",
    ("GET", "transcript"): "transcript",
    ("GET", "events"): "events",
    ("POST", "recording/extend"): "extend",
    ("DELETE", "recording"): "delete",
}


class Api:
    """The API of one world."""

    def __init__(self, world: World, renderer: Renderer | None = None) -> None:
        self._world = world
        self._renderer = renderer or Renderer(world)
        self._listing = Listing(world, self._renderer)
        self._webhook = Webhook(world)
        self._rate_limit = RateLimit(world.config.requests_per_second, world.config.requests_per_day)
        self._first_answers: dict[str, Answer] = {}
        self._call_handlers: dict[str, Callable[[Request, Call], Answer]] = {
            "call": self._call,
            "recording": self._recording,
            "transcript": self._transcript,
            "events": self._events,
            "extend": self._extend,
            "delete": self._delete,
        }

    def __call__(self, request: Request) -> Answer:
        """Answer a request with the headers of every answer, and count it."""
        world = self._world
        route, call_id = _route(request, world.config.base_path)
        world.counters.requests_by_route[route or "unknown"] += 1
        world.counters.api_connections += request.is_first
        answer = self._answer(request, route, call_id)
        answer.headers |= self._rate_limit.headers(world.now())
        if world.config.bridge:
            answer.headers |= {"x-routed-via": "bridge", "x-request-id": str(uuid.uuid4())}
        answer.delay_seconds += world.fault_injector.faults.api_latency_seconds
        world.counters.responses_by_status["none" if answer.ending in ("silence", "reset") else str(answer.status)] += 1
        return answer

    def _answer(self, request: Request, route: str, call_id: str) -> Answer:
        world = self._world
        if refusal := self._check_credentials(request):
            return refusal
        if wait_seconds := self._rate_limit.take(world.now()):
            return answers.rate_limited(round(wait_seconds + 0.0005, 3), world.now())
        if not route:
            return answers.not_found("Route")
        if world.fault_injector.is_active and (faulty := self._inject_fault(route, call_id or request.raw_query)):
            return faulty
        match route:
            case "list":
                return self._listing.page(request)
            case "stats":
                return self._stats(request)
            case "trends":
                return self._trends(request)
            case "settings":
                return self._settings(request)
            case "deliveries":
                return self._webhook.page(request)
            case "delivery":
                return self._webhook.detail(call_id)
        names_organization = not world.config.bridge or "organization_id" in request.query
        call = world.find(call_id, with_foreign=not names_organization)
        if call is None:
            return answers.not_found("Call")
        return self._call_handlers[route](request, call)

    def _check_credentials(self, request: Request) -> Answer | None:
        config = self._world.config
        offered_keys = set()
        if config.auth != "bearer" and not config.bridge:
            offered_keys.add(request.headers.get("x-api-key", ""))
        if config.auth != "x-api-key" or config.bridge:
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            offered_keys.add(key if scheme.lower() == "bearer" else "")
        if config.api_key not in offered_keys:
            return answers.error(401, "UNAUTHORIZED", "Invalid or missing API key")
        named = [request.headers.get("x-organization-id")]
        if config.bridge:
            named.append(request.query.get("organization_id"))
        if config.organization_id is not None and set(named) - {None, config.organization_id}:
            return answers.error(403, "FORBIDDEN", "This key does not see that organization")
        return None

    def _inject_fault(self, route: str, subject: str) -> Answer | None:
        """Return the answer of the first `api_` fault that applies to the request."""
        trigger = self._world.trigger_fault
        if trigger("api_reset", subject, route):
            return Answer(ending="reset")
        if fault := trigger("api_timeout", subject, route):
            return answers.silence(fault)
        if trigger("api_key_refused", subject, route):
            return answers.error(401, "UNAUTHORIZED", "Invalid or missing API key")
        if fault := trigger("api_rate_limited", subject, route):
            return answers.rate_limited(fault.value or "0.2", self._world.now())
        if fault := trigger("api_error", subject, route):
            return answers.fault_error(fault, 500)
        if fault := trigger("api_gateway", subject, route):
            return answers.gateway(fault)
        return None

    # Routes.

    def _call(self, request: Request, call: Call) -> Answer:
        return Answer(200, self._renderer.render(call))

    def _recording(self, request: Request, call: Call) -> Answer:
        world = self._world
        if call.id in world.deleted:
            status = world.config.deleted_recording_status
            return answers.error(status, "RECORDING_DELETED", "The recording was deleted")
        if not world.has_recording(call):
            return answers.not_found("Recording")
        expires_at = datetime.fromtimestamp(int(world.now()), UTC) + timedelta(seconds=world.config.url_seconds)
        return answers.json_answer(
            {
                "recording_url": world.mint_url(call.id),
                "expires_at": format_time(expires_at),
                "duration_seconds": call.duration_seconds,
                "format": "mp3",
                "size_bytes": call.audio_frames * FRAME_BYTES,
            }
        )

    def _transcript(self, request: Request, call: Call) -> Answer:
        if call.script is None or not self._world.is_ready(call):
            return answers.not_found("Transcript")
        text = write_transcript(call.script)
        return answers.json_answer(
            {
                "transcript": text,
                "word_count": len(text.split()),
                "language": call.script.language_code,
                "confidence": derive_confidence(call),
            }
        )

    def _events(self, request: Request, call: Call) -> Answer:
        return answers.json_answer({"events": make_events(call)})

    def _extend(self, request: Request, call: Call) -> Answer:
        world = self._world
        world.counters.extend_requests_by_call[call.id] += 1
        key = request.headers.get("idempotency-key") if world.config.idempotency else None
        if key is not None and f"{call.id} {key}" in self._first_answers:
            world.counters.replayed += 1
            first_answer = self._first_answers[f"{call.id} {key}"]
            return Answer(first_answer.status, first_answer.body)
        if fault := world.trigger_fault("extend_rate_limited", call.id):
            return answers.rate_limited(fault.value or "0.2", world.now())
        if fault := world.trigger_fault("extend_error", call.id):
            return answers.fault_error(fault, 500)
        if fault := world.trigger_fault("extend_refused", call.id):
            return answers.fault_error(fault, 403)
        try:
            days = json.loads(request.body)["days"]
        except (ValueError, KeyError, TypeError):
            days = None
        if type(days) is not int or days < 1:
            return answers.error(400, "VALIDATION_ERROR", "days must be a positive integer", field="days")
        if days > world.config.maximum_retention_days:
            maximum = world.config.maximum_retention_days
            text = f"The plan allows at most {maximum} days"
            return answers.error(403, "RETENTION_LIMIT", text, maximum_days=maximum)
        if not world.has_recording(call):
            return answers.not_found("Recording")
        world.extended_days.setdefault(call.id, []).append(days)
        world.counters.extends_applied_by_call[call.id] += 1
        answer = answers.json_answer({"success": True})
        if key is not None:
            self._first_answers[f"{call.id} {key}"] = Answer(answer.status, answer.body)
        if fault := world.trigger_fault("extend_timeout", call.id):
            return answers.silence(fault)
        if fault := world.trigger_fault("extend_lost", call.id):
            return answers.fault_error(fault, 502)
        return answer

    def _delete(self, request: Request, call: Call) -> Answer:
        if not self._world.has_recording(call):
            return answers.not_found("Recording")
        self._world.deleted.add(call.id)
        self._world.counters.deletes_by_call[call.id] += 1
        return answers.json_answer({"success": True})

    def _stats(self, request: Request) -> Answer:
        try:
            calls = self._listing.select(request.query)
        except ValueError as error:
            return answers.error(400, "VALIDATION_ERROR", str(error))
        seconds = sum(call.duration_seconds for call in calls)
        completed = sum(call.status == "completed" for call in calls) + self._added_to_counters()
        return answers.json_answer({"total_calls": len(calls), "completed_calls": completed, "total_duration": seconds})

    def _trends(self, request: Request) -> Answer:
        """Answer with the counts of each day from `start_date` to `end_date`, both included."""
        try:
            first, last = (date.fromisoformat(request.query[name]) for name in ("start_date", "end_date"))
        except (KeyError, ValueError):
            return answers.error(400, "VALIDATION_ERROR", "start_date and end_date must be dates")
        entries = []
        for number in range(min((last - first).days + 1, _MOST_DAYS)):
            day = first + timedelta(days=number)
            calls = self._world.select(("trends", day), partial(_is_of_day, day))
            completed = sum(call.status == "completed" for call in calls) + self._added_to_counters()
            entries.append({"date": day.isoformat(), "total": len(calls), "completed": completed})
        return answers.json_answer({"trends": entries})

    def _added_to_counters(self) -> int:
        fault = self._world.trigger_fault("counters_wrong", "")
        return int(fault.value or 1) if fault else 0

    def _settings(self, request: Request) -> Answer:
        settings = self._world.settings
        try:
            changes = json.loads(request.body)
            if not (set(changes) <= set(settings) and all(type(value) is bool for value in changes.values())):
                raise ValueError
        except (ValueError, TypeError, AttributeError):
            return answers.error(400, "VALIDATION_ERROR", f"expected true or false for {' and '.join(settings)}")
        settings |= changes
        return answers.json_answer(settings)


def _is_of_day(day: date, call: Call) -> bool:
    return call.created_at.date() == day


def derive_confidence(call: Call) -> float:
    """Return the transcript's confidence, 0.70 to 0.99, derived from the call's id."""
    return 0.7 + sum(call.id.encode()) % 30 / 100


def _route(request: Request, base_path: str) -> tuple[str, str]:
    """Return the route's name and the id of its call or delivery, each empty if there is none.

    The path is split before it is unquoted, because an id may contain a slash.
    """
    match request.method, *request.path.removeprefix(base_path).split("/")[1:]:
        case "GET", "calls":
            return "trends" if request.query.get("action") == "trends" else "list", ""
        case "GET", "calls", "stats":
            return "stats", ""
        case "PATCH", "settings":
            return "settings", ""
        case "GET", "webhook-deliveries":
            return "deliveries", ""
        case "GET", "webhook-deliveries", delivery_id:
            return "delivery", unquote(delivery_id)
        case method, "calls", call_id, *rest:
            return _CALL_ROUTES.get((method, "/".join(rest)), ""), unquote(call_id)
        case _:
            return "", ""
