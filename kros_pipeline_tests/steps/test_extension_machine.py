"""Extensions, whatever happens in whatever order: never sent twice but by an operator's word, and never forgotten.

Upstream and S3 fail at every point, and so do we: before the intent, after it, after the POST, after the outcome,
before the table and after it. The calls have two days, as if upstream had moved them: each run is one of either day.
Upstream is asked by the real client, over a wire that is ours, and honours no Idempotency-Key: it would hide a request
that is sent twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kros_pipeline.archive.audit_log import AuditLog
from kros_pipeline.archive.object_store import CREATE, Entry, Head, PutMode, Replace, VersionToken
from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.tables import Tables
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core import schemas
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ApiUnreachable, ArchiveUnavailable, ObjectChanged, ObjectExists
from kros_pipeline.core.object_keys import DECISIONS, extensions_prefix
from kros_pipeline.source.api_client import ApiClient
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.steps.extension_orders import BadOrder
from kros_pipeline.steps.retention_extensions import extend_retention
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.memory_store import MemoryServer

DAY, NEXT_DAY = DAYS = (date(2025, 1, 10), date(2025, 1, 11))
NOW = datetime(2025, 1, 20, tzinfo=UTC)
CLOCK = Clock(now=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None)
CALLS = ("call_a", "call_b", "call_c")
SETTINGS = parse_settings({"KROSAI_API_KEY": "k", "KROS_ARCHIVE_URL": "s3://bucket/p", "KROSAI_PLAN": "business"})

# What becomes of a POST, and whether upstream acts.
ACTS = {"accepted": True, "lost": True, "failed_after": True, "busy_then_accepted": True}
ACTS |= dict.fromkeys(("unconnected", "never_arrived", "failed_before", "busy", "key_refused", "refused"), False)
LIMIT = b'{"error": "Rate limit exceeded", "code": "RATE_LIMIT_EXCEEDED", "retry_after": 3600}'
# Answers of a gateway, and errors under a status that says otherwise: whether upstream acts, the status, the body.
LIES: dict[str, tuple[bool, int, bytes]] = {
    "html_after": (True, 200, b"<html>"),
    "timeout_after": (True, 408, b"<html>"),
    "conflict_after": (True, 409, b'{"error": "Conflict"}'),
    "redirect": (False, 302, b"<html>"),
    "no_route": (False, 404, b"<html>"),
    "not_offered": (False, 404, b'{"error": "Route not found"}'),
    "refused_in_200": (False, 200, b'{"error": "No", "code": "PLAN_LIMIT"}'),
    "busy_in_200": (False, 200, LIMIT),
    "busy_in_403": (False, 403, LIMIT),
}
ACTS |= {name: acts for name, (acts, _, _) in LIES.items()}
POINTS = [
    f"{when} {what}" for what in ("claim", "intent", "outcome", "settled", "table") for when in ("before", "after")
]
POINTS.append("after post")


class Crash(BaseException):
    """The process is gone."""


class Disturbed:
    """An object store in memory that fails, or kills us, right before or after a write."""

    bucket = "memory"
    requests_made = writes_made = 0
    server, reads_audio_back = MemoryServer(), False

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.point: str | None = None
        self.error: type[BaseException] = Crash

    def full_key(self, key: str) -> str:
        return key

    def url(self, key: str) -> str:
        return f"memory://{key}"

    def head(self, key: str) -> Head | None:
        body = self.objects.get(key)
        return Head(len(body), version_of(body), {}, NOW) if body is not None else None

    def digest(self, key: str) -> Any:
        raise NotImplementedError("no step asks for it here")

    folders = digest

    def read_range(self, key: str, begin: int, end: int, *, version: VersionToken | None = None) -> bytes | None:
        raise NotImplementedError("no step asks for it here")

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def copy_into(self, key: str, file: Any) -> VersionToken | None:
        body = self.objects.get(key)
        if body is None:
            return None
        file.write(body)
        return version_of(body)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        for key, body in sorted(self.objects.items()):
            if key.startswith(prefix) and key > after:
                yield Entry(key, len(body), version_of(body))

    def put(self, key: str, body: Any, *, sha256: str, mode: PutMode, **_: Any) -> VersionToken:
        if not isinstance(body, bytes):
            body.seek(0)
            body = body.read()
        what = "table" if key.endswith(".parquet") else key.removesuffix(".json").rpartition("-")[2]
        what = "claim" if key.startswith(DECISIONS) else what
        self.fails_at(f"before {what}")
        present = self.objects.get(key)
        if mode == CREATE and present is not None:
            raise ObjectExists(key)
        if isinstance(mode, Replace) and (present is None or version_of(present) != mode.version):
            raise ObjectChanged(key)
        self.objects[key] = body
        self.fails_at(f"after {what}")
        return version_of(body)

    def fails_at(self, point: str) -> None:
        if point == self.point:
            raise self.error(point)


def version_of(body: bytes) -> VersionToken:
    return VersionToken(hashlib.md5(body).hexdigest())


class Upstream(ApiClient):
    """The real client, and in the place of the wire the server: it counts what it did for which decision."""

    def __init__(self, store: Disturbed) -> None:
        super().__init__(SETTINGS.source, CLOCK)
        self.store = store
        self.faults: dict[str, str] = {}
        self.acted: Counter[str] = Counter()
        self.sent: list[tuple[str, str, int]] = []

    def _exchange(self, what: str, method: str, path: str, query: Any, body: Any, headers: Any) -> Any:
        if (method, path.split("/")[3:]) == ("GET", ["recording"]):  # is the 404 about the call, or about the request?
            return 200, {}, b'{"recording_url": "https://storage.krosai.com/a.mp3"}'
        assert (method, path.split("/")[3:]) == ("POST", ["recording", "extend"])
        call_id, decision_id = path.split("/")[2], headers["Idempotency-Key"]
        fault = self.faults.get(call_id, "accepted")
        if fault == "busy_then_accepted":
            self.faults[call_id] = "accepted"
            return 429, {"Retry-After": "0.1"}, b"{}"
        last = max(key for key in self.store.objects if f"/{decision_id}/" in key)
        assert last.endswith("-intent.json"), "a request without an intent before it"
        assert json.loads(self.store.objects[last])["sent_days"] == body["days"]
        if fault == "unconnected":
            raise ApiUnreachable("refused", surely_not_sent=True)
        if fault == "never_arrived":
            raise ApiUnreachable("reset")
        self.sent.append((call_id, decision_id, body["days"]))
        self.acted[decision_id] += ACTS[fault]
        self.store.fails_at("after post")
        if fault == "lost":
            raise ApiUnreachable("no answer")
        if fault in LIES:
            _, answered, content = LIES[fault]
            return answered, {}, content
        status = {"failed_before": 500, "failed_after": 502, "busy": 429, "key_refused": 401, "refused": 403}
        return status.get(fault, 200), {"Retry-After": "3600"}, b"{}"


class Extensions(RuleBasedStateMachine):
    """Rules flag, runs send and die, operators give their word."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Disturbed()
        self.upstream = Upstream(self.store)
        self.tombstones = Tombstones(self.store, None, CLOCK)
        self.tables = Tables(self.store, self.tombstones)
        self.flags: dict[tuple[str, str], int] = {}
        self.ordered: Counter[str] = Counter()  # resends by call: the orders of operators, not their repetitions
        self.runs = 0

    @initialize()
    def calls_are_there(self) -> None:
        for day in DAYS:
            row = dict.fromkeys(schemas.CALLS.column_names) | {"call_date": day, "created_at": NOW, "listed_at": NOW}
            self.commit(schemas.CALLS, day, [row | {"call_id": call_id, "has_recording": True} for call_id in CALLS])

    def commit(self, table: schemas.Table, day: date, rows: list[dict[str, Any]]) -> None:
        self.tables.commit(table, day, lambda _: batches_of(table, rows))

    @rule(call_id=st.sampled_from(CALLS), rule_id=st.sampled_from("xyz"), days=st.sampled_from((30, 120, 400)))
    def a_rule_flags(self, call_id: str, rule_id: str, days: int) -> None:
        self.flags[call_id, rule_id] = days
        for day in DAYS:
            row = {"call_date": day, "reason": "because", "rules_version": "v"}
            rows = [
                row | {"call_id": call_id, "rule_id": rule_id, "extend_days": days}
                for (call_id, rule_id), days in sorted(self.flags.items())
            ]
            self.commit(schemas.FLAGGED_CALLS, day, rows)

    faults = st.dictionaries(st.sampled_from(CALLS), st.sampled_from(sorted(ACTS)))
    days = st.sampled_from(DAYS)
    points = st.none() | st.sampled_from(POINTS)
    errors = st.sampled_from((Crash, ArchiveUnavailable))

    @rule(day=days, faults=faults, point=points, error=errors)
    def a_run(self, day: date, faults: dict[str, str], point: str | None, error: Any) -> None:
        self.run(faults, point, error, day)

    @rule(
        name=st.sampled_from(("resend", "settle")),
        calls=st.sets(st.sampled_from(CALLS), min_size=1),
        day=days,
        faults=faults,
        point=points,
        error=errors,
        repeated=st.booleans(),
    )
    def an_operator_says(self, name: str, calls: set[str], repeated: bool, day: date, **trouble: Any) -> None:
        self.runs += 1
        rows = self.tables.rows(schemas.RETENTION_EXTENSIONS, day)
        waiting = {row["call_id"] for row in rows if row["status"] in ("unconfirmed", "refused")}
        orders: dict[str, Any] = {name: sorted(calls & waiting or calls), "run_id": f"run-{self.runs}"}
        if name == "resend":
            self.ordered.update(orders[name])
        if not self.run(**trouble, day=day, **orders):
            self.ordered.subtract(orders.get("resend", ()))
        elif repeated:  # by Dagster, with the same config: no order of its own
            self.run({}, None, Crash, day, **orders)

    def run(self, faults: dict[str, str], point: str | None, error: Any, day: date = DAY, **orders: Any) -> bool:
        """One run, to its end or not; False where its orders were refused."""
        self.upstream.faults, self.upstream.sent = dict(faults), []
        self.store.point, self.store.error = point, error
        before = dict(self.store.objects)
        try:
            report = extend_retention(
                day,
                source=KrosAI(SETTINGS.source, CLOCK, api=self.upstream),
                store=self.store,
                tables=self.tables,
                tombstones=self.tombstones,
                audit=AuditLog(self.store, self.tombstones, CLOCK, run_id="run", day=day, step="extensions"),
                clock=CLOCK,
                **orders,
            )
        except (Crash, ArchiveUnavailable):
            report = None
        except BadOrder:
            assert self.store.objects == before and not self.upstream.sent
            return False
        finally:
            self.store.point = None
        for call_id, _, days in self.upstream.sent:
            longest = max(days for (flagged, _), days in self.flags.items() if flagged == call_id)
            assert days == min(longest, 365) or call_id in orders.get("resend", ())
        if report is not None:
            self.nothing_is_missing(report, day, is_quiet=not faults)
        return True

    def nothing_is_missing(self, report: Any, day: date, *, is_quiet: bool) -> None:
        """After a run that came to its end: each wish has its row, and no row says more than what happened."""
        rows = {row["decision_id"]: row for row in self.tables.rows(schemas.RETENTION_EXTENSIONS, day)}
        for row in rows.values():
            acted, was_ordered = self.upstream.acted[row["decision_id"]], self.ordered[row["call_id"]] > 0
            if row["status"] == "extended" and row["settled_at"] is None:
                assert acted, "said to be extended, and it is not"
            if acted and not was_ordered:
                assert row["status"] in ("extended", "unconfirmed")
            if row["status"] in ("unconfirmed", "refused") and row["settled_at"] is None:
                assert report.to_do, "unconfirmed, and no sentence says so"
        journalled = {key.split("/")[3] for key in self.store.objects if key.startswith(extensions_prefix(day))}
        assert {name for name, count in self.upstream.acted.items() if count and name in journalled} <= rows.keys()
        if is_quiet:
            for call_id in {call_id for call_id, _ in self.flags}:
                longest = max(days for (flagged, _), days in self.flags.items() if flagged == call_id)
                of_the_call = [row for row in rows.values() if row["call_id"] == call_id]
                assert any(
                    row["requested_days"] == longest or row["sent_days"] >= min(longest, 365) for row in of_the_call
                ), "forgotten"

    @invariant()
    def no_decision_happens_twice_but_by_an_operators_word(self) -> None:
        calls = {
            key.split("/")[3]: json.loads(body)["call_id"]
            for key, body in self.store.objects.items()
            if key.endswith("-intent.json")
        }
        for decision_id, count in self.upstream.acted.items():
            assert count <= 1 + self.ordered[calls[decision_id]]

    def teardown(self) -> None:
        """At the end of all troubles two quiet runs a day: the first makes up leeway, the second sends nothing."""
        for day in DAYS:
            self.run({}, None, Crash, day)
        for day in DAYS:
            self.run({}, None, Crash, day)
            assert self.upstream.sent == []
        self.upstream.close()


def test_extensions_are_sent_once_and_never_forgotten() -> None:
    run_state_machine_as_test(
        Extensions,
        settings=settings(
            max_examples=60, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    "fault", ["accepted", "lost", "failed_before", "refused", "html_after", "refused_in_200", "not_offered"]
)
def test_a_crash_at_each_single_point(point: str, fault: str) -> None:
    machine = Extensions()
    machine.calls_are_there()
    machine.a_rule_flags("call_b", "x", 120)
    machine.run({"call_b": fault}, point, Crash)
    machine.no_decision_happens_twice_but_by_an_operators_word()
    machine.teardown()
    [row] = machine.tables.rows(schemas.RETENTION_EXTENSIONS, DAY)
    was_sent_late = point in ("before claim", "after claim", "before intent")
    if was_sent_late:
        assert row["status"] == "extended"  # nothing was sent yet
    elif point in ("after intent", "after post", "before outcome"):
        assert row["status"] == "unconfirmed"
    else:
        assert row["status"] == {"accepted": "extended"}.get(
            fault, "refused" if fault in ("refused", "refused_in_200", "not_offered") else "unconfirmed"
        )
    assert machine.upstream.acted.total() == (was_sent_late or (ACTS[fault] and point != "after intent"))


@pytest.mark.parametrize("point", [None, *POINTS])
@pytest.mark.parametrize("fault", ["accepted", "lost", "busy", "refused"])
def test_a_decision_that_moves_to_another_day_is_sent_once(point: str | None, fault: str) -> None:
    """A run of one day sends it, or is killed; then the call has the other day."""
    machine = Extensions()
    machine.calls_are_there()
    machine.a_rule_flags("call_b", "x", 120)
    machine.run({"call_b": fault}, point, Crash)
    sent_first = list(machine.upstream.sent)
    machine.run({}, None, Crash, NEXT_DAY)
    sent_then = list(machine.upstream.sent)
    machine.no_decision_happens_twice_but_by_an_operators_word()
    machine.teardown()
    was_begun = point not in ("before claim", "after claim", "before intent")
    has_outcome = point not in ("after intent", "after post", "before outcome")
    assert bool(sent_first) == (was_begun and point != "after intent")
    assert bool(sent_then) == (not was_begun or (fault == "busy" and has_outcome))
    rows = [row for day in DAYS for row in machine.tables.rows(schemas.RETENTION_EXTENSIONS, day)]
    assert [row["call_date"] for row in rows] == list(DAYS)
    facts = [{name: value for name, value in row.items() if name not in ("call_date", "reason")} for row in rows]
    assert facts[0] == facts[1]
    homes = {key.split("/")[2] for key in machine.store.objects if key.startswith("state/extensions/")}
    assert homes == {f"dt={NEXT_DAY if point == 'before claim' else DAY}"}


def test_a_day_that_another_day_has_settled_knows_it() -> None:
    machine = Extensions()
    machine.calls_are_there()
    machine.a_rule_flags("call_b", "x", 120)
    machine.run({"call_b": "lost"}, None, Crash)
    machine.run({}, None, Crash, NEXT_DAY)
    machine.run({}, None, Crash, NEXT_DAY, settle=["call_b"], run_id="order")
    machine.run({}, None, Crash)
    for day in DAYS:
        [row] = machine.tables.rows(schemas.RETENTION_EXTENSIONS, day)
        assert (row["status"], row["settled_at"] is not None) == ("extended", True)
    assert machine.upstream.acted.total() == 1


def test_an_operator_resends_from_the_day_that_the_call_has_now() -> None:
    machine = Extensions()
    machine.calls_are_there()
    machine.a_rule_flags("call_b", "x", 120)
    machine.run({"call_b": "never_arrived"}, None, Crash)
    machine.run({}, None, Crash, NEXT_DAY)
    for _ in range(2):  # Dagster repeats a failed run with the same order
        machine.run({}, None, Crash, NEXT_DAY, resend=["call_b"], run_id="order")
    machine.run({}, None, Crash)
    for day in DAYS:
        [row] = machine.tables.rows(schemas.RETENTION_EXTENSIONS, day)
        assert (row["status"], row["attempts"]) == ("extended", 2)
    assert machine.upstream.acted.total() == 1
