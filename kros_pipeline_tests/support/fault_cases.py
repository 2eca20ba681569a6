"""The table of the fault matrix: what goes wrong, and what becomes of the day. `fault_matrix.py` runs it.

`once` and `always` say what a day comes to when the first attempt of each thing meets the fault, or every one; None:
there is no such row. `afterwards` is the day when it is run once more, the fault being over.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kros_pipeline.sandbox import Fault, SandboxConfig
from kros_pipeline.sandbox.answers import HTML_PAGE
from kros_pipeline.sandbox.faults import HEAVY
from kros_pipeline.source import api_client, transfer_progress
from kros_pipeline.steps import list_proof
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account
from kros_pipeline_tests.support.archive_check import completed_of, table_key
from kros_pipeline_tests.support.raw_server import RESET, Build, chunk, head, sized

FEW = replace(PLAIN, days={"2025-01-09": 1, "2025-01-10": 6, "2025-01-11": 2}, audio_seconds=(12, 14))
HIDDEN = replace(FEW, variety=True, days={"2025-01-10": 50})
OTHERS = replace(FEW, variety=True, days={"2025-01-09": 4, "2025-01-10": 20, "2025-01-11": 4})
SECOND_PAGE = "status=completed&from_date=2025-01-09T23%3A59%3A00Z&to_date=2025-01-10T12%3A00%3A02Z&limit=100&offset=2"
TWO_ROWS_A_PAGE: Mapping[str, Fault] = {"list_limit_ignored": Fault(value=2)}
THREE_ROWS_A_PAGE: Mapping[str, Fault] = {"list_limit_ignored": Fault(value=3)}
ASK_EVERY_TRANSCRIPT: Mapping[str, str] = {"KROS_TRANSCRIPT_DETAILS": "always"}
FIRST_URL_REFUSED: Mapping[str, Fault] = {"storage_denied": Fault(attempts=1)}


@dataclass(frozen=True)
class Expected:
    """A verdict, and a pattern that the day's sentences must show; None: nothing is said."""

    verdict: str
    sentences: str | None = None


NO_VERDICT = "none, the run fails"
COMPLETE = Expected("complete")


def complete(sentences: str) -> Expected:
    return Expected("complete", sentences)


def waiting(sentences: str) -> Expected:
    return Expected("waiting", sentences)


def incomplete(sentences: str) -> Expected:
    return Expected("incomplete", sentences)


def fails(sentence: str) -> Expected:
    return Expected(NO_VERDICT, sentence)


@dataclass(frozen=True, eq=False)
class Case:
    """One fault. A fault of single calls hits the day's first one, if its knob is in `of_one_call`."""

    wrong: str
    once: Expected | None = COMPLETE
    always: Expected | None = COMPLETE
    afterwards: Expected = COMPLETE
    faults: Mapping[str, Fault] = field(default_factory=dict)
    of_one_call: Mapping[str, Fault] = field(default_factory=dict)
    lasting: Mapping[str, Fault] = field(default_factory=dict)
    """Knobs that only prepare the ground: they are met by every attempt, and say nothing by themselves."""
    audio: Build | None = None
    """What the storage sends in place of the first call's audio."""
    answer: tuple[str, Build] | None = None
    """A pattern of paths, and what the API sends there in place of its answer."""
    config: SandboxConfig = FEW
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the run that meets the fault, and of no other."""
    has_rules: bool = False
    changes_the_world: bool = False
    before: Callable[[Account], object] | None = None
    """What happens before the first run, to the world or to the archive."""
    between: Callable[[Account], object] | None = None
    """What an operator does between the two runs."""
    patches: tuple[tuple[Any, str, Any], ...] = ()
    is_last_chance: bool = False
    """The first run is shortly before upstream deletes the recordings: one answer that there is none settles a call."""


def shown(**differences: Any) -> dict[str, Any]:
    """A list that is as it is: no attempt of it is another."""
    return {"once": None, "config": replace(FEW, **differences)}


def _move_after_run(hours: int, our: Account) -> None:
    """Archive the day, and have one of its calls move upstream."""
    our.run_day()
    our.krosai.move_call(min(completed_of(our.krosai, DAY)), hours * 3_600)


def _damaged(change: Callable[[Account], object]) -> Callable[[Account], None]:
    """Archive the day, and then damage the archive."""

    def before(our: Account) -> None:
        our.run_day()
        change(our)

    return before


def _delete_table(name: str, our: Account) -> None:
    our.archive.delete(table_key(name, DAY))


def _cut_table(name: str, our: Account) -> None:
    key = table_key(name, DAY)
    our.archive.write(key, our.archive.read(key)[:100])


def _restore_half(name: str, our: Account) -> None:
    """Put back an older version of a table: one that has half of the rows."""
    our.archive.rewrite(name, DAY, lambda rows: rows[: len(rows) // 2])


def _swap_audio(our: Account) -> None:
    """Lose the table, and have a page of HTML where a recording was."""
    our.archive.delete(table_key("recordings", DAY))
    our.archive.write(min(our.archive.objects(f"audio/dt={DAY}/")), b"<html>Not found</html>")


def _delete_first_audio(our: Account) -> None:
    our.archive.delete(min(our.archive.objects(f"audio/dt={DAY}/")))


def _empty_upstream_and_lose_calls(our: Account) -> None:
    for call_id in completed_of(our.krosai, DAY):
        our.krosai.remove_call(call_id)
    our.archive.delete(table_key("calls", DAY))


def noted(sentences: str) -> dict[str, Any]:
    """The day is complete in both runs, and says what was odd."""
    return {"always": complete(sentences), "afterwards": complete(sentences)}


# The list of calls. Three rows a page, where pages matter.
ENUMERATION = [
    Case("A page is HTML with status 200", always=fails("not JSON"), faults={"list_not_json": Fault()}),
    Case("The second page is HTML", always=incomplete(r"not read to its end: .*not JSON"),
         faults={"list_not_json": Fault(calls=(SECOND_PAGE,))}, lasting=TWO_ROWS_A_PAGE),
    Case("The list has neither `calls` nor `data`", once=fails("neither 'calls' nor 'data': it has count, items"),
         always=fails("neither 'calls' nor 'data': it has count, items"), faults={"list_unknown_shape": Fault()}),
    Case("The second page has neither", once=incomplete("not read to its end: .*neither 'calls'"),
         always=incomplete("not read to its end: .*neither 'calls'"),
         faults={"list_unknown_shape": Fault(calls=(SECOND_PAGE,))}, lasting=TWO_ROWS_A_PAGE),
    Case("Status 500", always=fails("status 500"), faults={"api_error": Fault(routes=("list",))}),
    Case("Status 503", always=fails("status 503"), faults={"api_error": Fault(routes=("list",), value=503)}),
    Case("Status 404 for the list", once=fails("status 404"), always=fails("status 404"),
         faults={"api_error": Fault(routes=("list",), value=404)}),
    Case("A redirect", once=fails("redirect, which is not followed"), always=fails("redirect, which is not followed"),
         faults={"api_error": Fault(routes=("list",), value=302)}),
    Case("The connection is reset", always=fails("no answer"), faults={"api_reset": Fault(routes=("list",))}),
    Case("Silence, then the connection closes", always=fails("no answer"),
         faults={"api_timeout": Fault(routes=("list",), value=0.02)}),
    Case("The key is refused (401)", once=fails("Check KROSAI_API_KEY"), always=fails("Check KROSAI_API_KEY"),
         faults={"api_key_refused": Fault(routes=("list",))}),
    Case("The key is refused (403)", once=fails("KROSAI_ORGANIZATION_ID"), always=fails("KROSAI_ORGANIZATION_ID"),
         faults={"api_error": Fault(routes=("list",), value=403)}),
    Case("`total` is one too many", always=incomplete(r"`total` says \d+, and \d+ distinct rows came"),
         faults={"list_total_wrong": Fault()}),
    Case("`total` is one too few", always=incomplete(r"`total` says \d+, and \d+ distinct rows came"),
         faults={"list_total_wrong": Fault(value=-1)}),
    Case("`offset` is ignored: every page is the first",
         faults={"list_offset_ignored": Fault()}, lasting=THREE_ROWS_A_PAGE),
    Case("`limit` is ignored", faults=THREE_ROWS_A_PAGE),
    Case("`from_date` and `to_date` are ignored", once=complete("the date filter is ignored upstream"),
         always=complete("the date filter is ignored upstream"), faults={"list_dates_ignored": Fault()},
         config=replace(FEW, days={"2025-01-02": 2, "2025-01-10": 6, "2025-01-20": 2})),
    Case("`offset` and the dates are ignored", always=incomplete("as if the offset were ignored"),
         once=complete("the date filter is ignored upstream"),
         faults={"list_offset_ignored": Fault()},
         lasting={**THREE_ROWS_A_PAGE, "list_dates_ignored": Fault()}),
    Case("`status` is ignored", once=complete("the status filter is ignored upstream"),
         always=complete("the status filter is ignored upstream"), faults={"list_status_ignored": Fault()},
         config=OTHERS),
    Case("Calls are listed twice", once=None, faults={"list_duplicates": Fault(share=0.5)}, lasting=THREE_ROWS_A_PAGE),
    Case("Calls complete while the list is read", once=None, always=COMPLETE,
         faults={"list_completing": Fault(share=0.5)}, lasting=THREE_ROWS_A_PAGE),
    Case("Calls vanish while the list is read, for good", once=None,
         always=incomplete("3 × recording lost.*gone upstream"), afterwards=incomplete("3 × recording lost"),
         faults={"list_vanishing": Fault(share=0.3)}, changes_the_world=True, lasting=THREE_ROWS_A_PAGE),
    *(Case(f"A row is malformed: {kind.replace('_', ' ')}",
           once=COMPLETE if "created_at" in kind else incomplete("1 rows of the list are no calls"),
           always=incomplete("1 rows of the list are no calls"),
           of_one_call={"list_malformed": Fault(value=kind)})
      for kind in ("missing_id", "id_not_text", "missing_created_at", "unreadable_created_at", "not_an_object")),
    Case("The date filter reads days only", **shown(filter_reads_days_only=True) | noted("outside the hours")),
    Case("The date filter means `completed_at`", **shown(filter_by="completed_at")),
    Case("`to_date` is exclusive, the order shuffled", **shown(to_date_inclusive=False, order="shuffled")),
    Case("The other dialect: `data`, `page`, `total_pages`", **shown(dialect="page"), lasting=THREE_ROWS_A_PAGE),
    Case("More rows than a window may have (10,000; 4 here)", once=None,
         patches=((list_proof, "_MAX_ROWS_PER_WINDOW", 4),)),
    Case("The same, and no halving shrinks `total`",
         **shown(filter_reads_days_only=True) | noted("outside the hours asked for"),
         patches=((list_proof, "_MAX_ROWS_PER_WINDOW", 4),)),
]  # fmt: skip

# Lists that pass for others than they are.
LIES = [
    Case("`total` and the depth are limits (4 of 6)", **shown(total_cap=4, depth_cap=4), lasting=THREE_ROWS_A_PAGE),
    Case("The same, and deeper pages are empty", **shown(total_cap=4, depth_cap=4, depth_answer="empty"),
         lasting=THREE_ROWS_A_PAGE),
    Case("`total` is a limit, in the other dialect", **shown(total_cap=4, dialect="page", order="oldest"),
         lasting=THREE_ROWS_A_PAGE),
    Case("The depth is a limit, and `total` counts on", **shown(depth_cap=4), lasting=THREE_ROWS_A_PAGE),
    Case("Completed calls show the status `ended`",
         changes_the_world=True,
         **shown(listed_status="ended") | noted("a status that is not documented were kept: ended")),
    Case("A call shows the status `archived`", once=complete("a status that is not documented were kept: archived"),
         always=complete("a status that is not documented were kept: archived"),
         changes_the_world=True, of_one_call={"list_odd_status": Fault()}),
    *(Case(f"The date filter reads our times as those of UTC{hours:+d}",
           **shown(filter_shift_hours=hours, days={"2025-01-09": 9, "2025-01-10": 9, "2025-01-11": 9})
           | noted("does not understand our times"))
      for hours in (-8, 5, 13)),
    Case("The date filter reads days only, of UTC-8",
         **shown(filter_shift_hours=-8, filter_reads_days_only=True) | noted("outside the hours")),
    Case("Times have no zone, and are those of UTC+1",
         **shown(times="naive", zone_hours=1, days={"2025-01-09": 9, "2025-01-10": 60, "2025-01-11": 9})
         | {"always": incomplete("Set KROSAI_TIMEZONE")},
         afterwards=incomplete("Set KROSAI_TIMEZONE"), changes_the_world=True),
    Case("Times are written with the account's offset (+01:00)", **shown(times="local", zone_hours=1)),
    Case("Neither bound of the filter is inclusive, calls stand on both", changes_the_world=True,
         **shown(from_date_inclusive=False, to_date_inclusive=False),
         before=lambda our: [our.krosai.add_call(f"2025-01-{at}") for at in ("10T00:00:00Z", "10T12:00:00Z")]),
    Case("A call vanishes and another appears, so that `total` stays", once=None, changes_the_world=True,
         before=lambda our: our.krosai.add_call("2025-01-10T11:00:00Z", recorded=False, call_id="call_swapped"),
         faults={"list_swapping": Fault(calls=("call_swapped",))}, lasting=THREE_ROWS_A_PAGE, is_last_chance=True),
    *(Case(f"A row is heavy: {kind.replace('_', ' ')}", of_one_call={"list_heavy": Fault(value=kind)},
           once=None, changes_the_world=True)
      for kind in HEAVY),
    Case("Rows of another organization are listed", once=incomplete("rows of another organization"),
         always=incomplete("rows of another organization"), config=replace(FEW, organization_id="org-1"),
         faults={"list_foreign_rows": Fault()}, lasting=THREE_ROWS_A_PAGE),
    Case("The same, over the Bridge", once=incomplete("rows of another organization"),
         always=incomplete("rows of another organization"),
         config=replace(FEW, organization_id="org-1", bridge="/api/v1"), faults={"list_foreign_rows": Fault()}),
    *(Case(f"A call's time moves over midnight, {where}", once=None, changes_the_world=True,
           before=partial(_move_after_run, hours))
      for where, hours in (("back", -24), ("ahead", 24))),
]  # fmt: skip

# The audio. A fault of one call is no other call's: the rest of the day is archived in the same run.
RECORDINGS = [
    Case("A reset in the middle", always=incomplete("broke off"), of_one_call={"storage_reset": Fault()}),
    Case("Cut short, Content-Length tells", always=incomplete("broke off|declared bytes"),
         of_one_call={"storage_truncated": Fault()}),
    Case("Cut short, nothing tells", always=incomplete("the body is cut: .* bytes came, and upstream says"),
         of_one_call={"storage_cut_silently": Fault()}),
    Case("An HTML page with status 200", always=incomplete("not a whole MP3: an HTML or JSON answer"),
         of_one_call={"storage_html": Fault()}),
    Case("A JSON error with status 200", always=incomplete("not a whole MP3: an HTML or JSON answer"),
         of_one_call={"storage_json": Fault()}),
    Case("An empty body", always=incomplete("the body is empty"), of_one_call={"storage_empty": Fault()}),
    Case("Good audio, then rubbish", always=incomplete("audio is lost: .* frames are missing"),
         of_one_call={"storage_rubbish": Fault()}),
    Case("A body longer than declared", of_one_call={"storage_longer": Fault()}),
    Case("Audio of another call's length", always=incomplete("the body is cut: .* bytes came, and upstream says"),
         of_one_call={"storage_other_length": Fault()}),
    Case("Another format (WAV)", always=incomplete("upstream says .* bytes"), of_one_call={"storage_wav": Fault()}),
    Case("Gzip, which was not asked for", of_one_call={"storage_gzip": Fault()}),
    Case("Slow, within the deadline", of_one_call={"storage_slow": Fault(value=0.1)}),
    Case("403 before the URL expires", always=incomplete("does not accept the URL .status 403"),
         of_one_call={"storage_denied": Fault()}),
    Case("401", always=incomplete("does not accept the URL .status 401"),
         of_one_call={"storage_error": Fault(value=401)}),
    Case("400, as S3 answers ended credentials", always=incomplete("does not accept the URL .status 400"),
         of_one_call={"storage_error": Fault(value=400)}),
    Case("404", always=incomplete("recording lost.*no such recording .status 404"),
         of_one_call={"storage_missing": Fault()}),
    Case("410", always=incomplete("recording lost.*no such recording .status 410"),
         of_one_call={"storage_gone": Fault()}),
    Case("500", always=incomplete("the storage answered 500"), of_one_call={"storage_error": Fault()}),
    Case("503 SlowDown", always=incomplete("the storage answered 503"), of_one_call={"storage_slow_down": Fault()}),
    Case("429", always=incomplete("the storage answered 429"), of_one_call={"storage_error": Fault(value=429)}),
    Case("A redirect to the same host, for good", always=incomplete("redirects more than 3 times"),
         of_one_call={"storage_redirect": Fault()}),
    Case("A redirect to a foreign host", once=incomplete("recording refused.*is not in KROS_RECORDING_HOSTS"),
         always=incomplete("recording refused.*is not in KROS_RECORDING_HOSTS"),
         of_one_call={"storage_redirect": Fault(value="https://evil.example/a.mp3?sig=secret")}),
    Case("A URL of a foreign host", once=incomplete("recording refused.*is not in KROS_RECORDING_HOSTS"),
         always=incomplete("recording refused.*is not in KROS_RECORDING_HOSTS"), of_one_call={"url_foreign": Fault()}),
    Case("No new URL for a refused one: API 500", always=incomplete("recording failed.*status 500"),
         of_one_call={"api_error": Fault(routes=("recording",))}, lasting=FIRST_URL_REFUSED),
    Case("No new URL: the API says 404", once=incomplete("recording lost.*gone upstream"),
         always=incomplete("recording lost.*gone upstream"),
         of_one_call={"api_error": Fault(routes=("recording",), value=404)},
         lasting=FIRST_URL_REFUSED),
    Case("Recordings and transcripts come days late: after the first run", once=None, changes_the_world=True,
         always=waiting("Upstream has said once that there is none, of 4 recordings and 4 transcripts"),
         config=replace(FEW, late_share=0.5), between=lambda our: our.krosai.release_late()),
]  # fmt: skip

# The texts. Each call is asked for by itself here, as KROS_TRANSCRIPT_DETAILS=always has it.
TRANSCRIPTS = [
    Case("Status 500 for one call", always=waiting("1 transcripts are pending.*status 500"),
         of_one_call={"api_error": Fault(routes=("transcript",))}, settings=ASK_EVERY_TRANSCRIPT),
    Case("A reset for one call", always=waiting("1 transcripts are pending.*no answer"),
         of_one_call={"api_reset": Fault(routes=("transcript",))}, settings=ASK_EVERY_TRANSCRIPT),
    Case("Silence for one call", always=waiting("1 transcripts are pending.*no answer"),
         of_one_call={"api_timeout": Fault(routes=("transcript",), value=0.02)}, settings=ASK_EVERY_TRANSCRIPT),
    Case("404 for one call, and the list shows its text",
         of_one_call={"api_error": Fault(routes=("transcript",), value=404)},
         settings=ASK_EVERY_TRANSCRIPT),
    Case("400 for one call, and the list shows its text", once=waiting("1 transcripts are pending.*status 400"),
         always=waiting("1 transcripts are pending.*status 400"),
         of_one_call={"api_error": Fault(routes=("transcript",), value=400)}, settings=ASK_EVERY_TRANSCRIPT),
    Case("The key is refused only for transcripts", once=incomplete("a person must act.*Check KROSAI_API_KEY"),
         always=incomplete("a person must act.*Check KROSAI_API_KEY.*6 transcripts are pending"),
         faults={"api_key_refused": Fault(routes=("transcript",))}, settings=ASK_EVERY_TRANSCRIPT),
]  # fmt: skip


def limited(value: str, *routes: str) -> dict[str, Fault]:
    return {"api_rate_limited": Fault(routes=routes or ("list",), value=value)}


QUOTA = "seconds .quota"
QUOTA_AND_RATE = [
    Case("429, Retry-After: 0.2", always=fails("429 again and again"), faults=limited("0.2")),
    Case("429, Retry-After: an HTTP date", always=fails("429 again and again"), faults=limited("http-date")),
    Case("429 without Retry-After", always=fails("429 again and again"), faults=limited("absent")),
    Case("429, Retry-After: 3600", once=fails("3,600 " + QUOTA), always=fails("3,600 " + QUOTA),
         faults=limited("3600")),
    Case("429, Retry-After: 1e300", once=fails(QUOTA), always=fails(QUOTA), faults=limited("1e300")),
    Case("429, Retry-After: -5", always=fails("429 again and again"), faults=limited("-5")),
    Case("429, Retry-After: soon", always=fails("429 again and again"), faults=limited("soon")),
    Case("429, Retry-After: 3600, from the second page on", once=waiting("not read to its end.*" + QUOTA),
         always=waiting("not read to its end.*" + QUOTA),
         faults={"api_rate_limited": Fault(calls=(SECOND_PAGE,), value="3600")}, lasting=TWO_ROWS_A_PAGE),
    Case("429, Retry-After: 3600, for URLs", once=waiting("recordings are pending.*" + QUOTA),
         always=waiting("6 recordings are pending.*" + QUOTA), faults=limited("3600", "recording"),
         lasting=FIRST_URL_REFUSED),
    Case("429, Retry-After: 0.2, for URLs", always=waiting("6 recordings are pending.*429 again and again"),
         faults=limited("0.2", "recording"), lasting=FIRST_URL_REFUSED),
    Case("429, Retry-After: 3600, for transcripts", once=waiting("transcripts are pending.*" + QUOTA),
         always=waiting("6 transcripts are pending.*" + QUOTA), faults=limited("3600", "transcript"),
         settings=ASK_EVERY_TRANSCRIPT),
    Case("The run's share of requests ends in the list", once=None,
         always=waiting("not read to its end.*budget"), settings={"KROSAI_REQUESTS_PER_RUN": "1"},
         lasting=THREE_ROWS_A_PAGE),
    Case("The run's share ends in the recordings", once=None, always=waiting("recordings are pending.*budget"),
         lasting=FIRST_URL_REFUSED, settings={"KROSAI_REQUESTS_PER_RUN": "8"}),
    Case("The run's share ends in the transcripts", once=None, always=waiting("transcripts are pending.*budget"),
         settings={"KROSAI_REQUESTS_PER_RUN": "10", **ASK_EVERY_TRANSCRIPT}),
]  # fmt: skip

# Requests for longer retention. They never move the verdict: `every_extension_is_confirmed` is red by itself.
DOUBT = complete("may or may not have been done")
EXTENSION = [
    Case("429, Retry-After: 0.2", always=complete("429 again and again"),
         faults={"extend_rate_limited": Fault()}, has_rules=True),
    Case("429, Retry-After: 3600", once=complete(QUOTA), always=complete(QUOTA),
         faults={"extend_rate_limited": Fault(value="3600")}, has_rules=True),
    Case("The key is refused only for extensions", once=complete("KROSAI_API_KEY"), always=complete("KROSAI_API_KEY"),
         faults={"api_key_refused": Fault(routes=("extend",))}, has_rules=True),
    Case("Status 500", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         of_one_call={"extend_error": Fault()}, has_rules=True),
    Case("It is done, and the answer is 502", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         of_one_call={"extend_lost": Fault()}, has_rules=True),
    Case("It is done, and the answer never comes", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         of_one_call={"extend_timeout": Fault(value=0.05)}, has_rules=True),
    Case("The connection is reset", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         of_one_call={"api_reset": Fault(routes=("extend",))}, has_rules=True),
    Case("Upstream says no (403)", once=complete("status 403"), always=complete("status 403"),
         afterwards=complete("status 403"), of_one_call={"extend_refused": Fault()}, has_rules=True),
]  # fmt: skip


def gateway(value: str, *routes: str) -> dict[str, Fault]:
    return {"api_gateway": Fault(routes=routes, value=value)}


def both(expected: Expected) -> dict[str, Any]:
    """It is not retried within a run: one attempt is as bad as every one."""
    return {"once": expected, "always": expected}


def lasts(expected: Expected) -> dict[str, Any]:
    """A request that is sent once: its answer stays what it is."""
    return both(expected) | {"afterwards": expected}


# Answers that something in front of the API gives in its place, and errors under a status that says otherwise.
NOT_OURS = "a gateway may have sent it"
NOT_OFFERED = complete("not offered here")
GATEWAY = [
    *(Case(f"The list: {what}", always=fails(NOT_OURS), faults=gateway(value, "list"))
      for what, value in (("404 with HTML", "404 html"), ("410, an empty body", "410 empty"))),
    Case("The list: 408", always=fails("status 408"), faults=gateway("408 html", "list")),
    Case("The list: an error with status 200", always=fails("status 200 with an error, “BUSY"),
         faults=gateway("200 BUSY", "list")),
    Case("The list: the address is not allowed, with status 403", **both(fails("Allow the public IP address")),
         faults=gateway("403 IP_NOT_ALLOWED", "list")),
    *(Case(f"A recording that the list hides: {what}", always=incomplete(f"recording failed.*{NOT_OURS}"),
           faults=gateway(value, "recording"), config=HIDDEN, is_last_chance=True)
      for what, value in (("404 with HTML", "404 html"), ("404 with `message`", "404 message"),
                          ("404, an empty body", "404 empty"), ("410 with HTML", "410 html"))),
    *(Case(f"A recording that the list hides: {what}", **both(incomplete(f"recording failed.*{words}")),
           faults=gateway(value, "recording"), config=HIDDEN, is_last_chance=True)
      for what, value, words in (("403 with HTML", "403 html", "status 403"), ("302", "302 html", "a redirect"))),
    *(Case(f"A URL for a recording: {what}", **both(incomplete(f"a person must act: .*{words}")),
           faults=gateway(value, "recording"), lasting=FIRST_URL_REFUSED)
      for what, value, words in (("the key expired (403)", "403 KEY_EXPIRED", "The API key has expired"),
                                 ("the same with status 200", "200 KEY_EXPIRED", "The API key has expired"),
                                 ("the address is not allowed", "401 IP_NOT_ALLOWED", "Allow the public IP address"))),
    *(Case(f"A transcript that the list shortens: {what}", always=waiting(f"transcripts are pending.*{words}"),
           faults=gateway(value, "transcript"), config=OTHERS)
      for what, value, words in (("404 with HTML", "404 html", NOT_OURS), ("409", "409 html", "status 409"),
                                 ("404 with `message`", "404 message", NOT_OURS), ("200 with HTML", "200 html", "JSON"),
                                 ("410, an empty body", "410 empty", NOT_OURS))),
    *(Case(f"A transcript that the list shortens: {what}", **both(waiting(f"transcripts are pending.*{words}")),
           faults=gateway(value, "transcript"), config=OTHERS)
      for what, value, words in (("403 with HTML", "403 html", "status 403"), ("302", "302 html", "a redirect"))),
    Case("A transcript that the list shortens: 403, the key expired", config=OTHERS,
         **both(incomplete("a person must act: .*The API key has expired")),
         faults=gateway("403 KEY_EXPIRED", "transcript")),
    *(Case(f"An extension: refused, with status {status}", **lasts(complete("refused.*PLAN_LIMIT")),
           of_one_call=gateway(f"{status} PLAN_LIMIT", "extend"), has_rules=True)
      for status in (200, 403)),
    *(Case(f"An extension: {what}", **lasts(DOUBT), of_one_call=gateway(value, "extend"), has_rules=True)
      for what, value in (("200 with HTML", "200 html"), ("404 with HTML", "404 html"),
                          ("404 with `message`", "404 message"), ("302", "302 html"), ("408", "408 html"),
                          ("409", "409 CONFLICT"))),
    *(Case(f"An extension: it is done, and the answer is {status}", **lasts(DOUBT),
           of_one_call={"extend_lost": Fault(value=status)}, has_rules=True)
      for status in (302, 408, 409)),
    Case("An extension: 404, and upstream has the recording", **lasts(NOT_OFFERED),
         faults=gateway("404 NOT_FOUND", "extend"), has_rules=True),
    Case("An extension: the key expired (403)", **both(complete("The API key has expired")),
         faults=gateway("403 KEY_EXPIRED", "extend"), has_rules=True),
    *(Case(f"A rate limit for the list: {what}", always=fails(f"answers {words} again and again"),
           faults=limited(value))
      for what, value, words in (("its error in a 200", "as-200", "200, a rate limit,"),
                                 ("its error in a 403", "as-403", "403, a rate limit,"),
                                 ("503 with Retry-After", "as-503", "503, a rate limit,"),
                                 ("429 with X-RateLimit-Reset and Date", "reset", "429"))),
    *(Case(f"A rate limit for a transcript: {what}", config=OTHERS, faults=limited(value, "transcript"),
           always=waiting("transcripts are pending.*again and again"))
      for what, value in (("its error in a 200", "as-200"), ("its error in a 403", "as-403"))),
    *(Case(f"A rate limit for an extension: {what}", always=complete("again and again"),
           faults={"extend_rate_limited": Fault(value=value)}, has_rules=True)
      for what, value in (("its error in a 200", "as-200"), ("its error in a 403", "as-403"),
                          ("503 with Retry-After", "as-503"))),
]  # fmt: skip

# Bytes on the wire, to the last header: what a proxy, a broken server or a cut line may send.
HURRIED = ((transfer_progress, "_WINDOW_SECONDS", 0.1), (transfer_progress, "_LEAST_BYTES", 1e12))
CLOSED = [
    Case("No Content-Length, cut within a frame", always=incomplete("the last frame is cut"),
         audio=lambda body: [head(), body[: len(body) // 2 + 7]]),
    Case("No Content-Length, cut between frames", always=incomplete("s of audio for a call of"),
         audio=lambda body: [head(), body[: 288 * (len(body) // 576)]]),
    Case("No Content-Length, whole", audio=lambda body: [head(), body]),
    Case("Content-Length is larger than the body", always=incomplete("broke off|declared bytes"),
         audio=lambda body: sized(body, length=len(body) + 288)),
    Case("Content-Length is smaller than the body", always=incomplete("s of audio for a call of"),
         audio=lambda body: sized(body, length=288 * (len(body) // 576))),
    Case("Content-Length is smaller by a byte", always=incomplete("the last frame is cut"),
         audio=lambda body: sized(body, length=len(body) - 1)),
    Case("Two Content-Lengths that differ", always=incomplete("no answer from the storage"),
         audio=lambda body: sized(body, f"Content-Length: {len(body) // 2}")),
    Case("Content-Length is no number", audio=lambda body: sized(body, length="many")),
    Case("Content-Length is negative", audio=lambda body: sized(body, length=-1)),
    Case("Content-Length is beyond all audio", always=incomplete("which no call's audio has"),
         audio=lambda body: sized(body, length=1 << 50)),
    Case("Chunked, whole", audio=lambda body: [head("Transfer-Encoding: chunked"), chunk(body), chunk(b"")]),
    Case("Chunked, the end is missing", always=incomplete("broke off"),
         audio=lambda body: [head("Transfer-Encoding: chunked"), chunk(body)]),
    Case("Chunked, a size is no number", always=incomplete("broke off"),
         audio=lambda body: [head("Transfer-Encoding: chunked"), chunk(body[:2880]), b"zz\r\n", body[2880:]]),
    Case("Chunked, a chunk is cut", always=incomplete("broke off"),
         audio=lambda body: [head("Transfer-Encoding: chunked"), chunk(body)[:-1000]]),
    Case("Content-Encoding: gzip, cut short", always=incomplete("gzip"),
         audio=lambda body: [head("Content-Encoding: gzip"), gzip.compress(body, mtime=0)[:-200]]),
    Case("Drips, too little for the deadline", always=incomplete("bytes came in 0.1 seconds"), once=COMPLETE,
         audio=lambda body: [head(f"Content-Length: {len(body)}"), *[b"\xff", 0.03] * 6, body], patches=HURRIED),
    Case("A header that never ends", always=incomplete("no answer from the storage"),
         audio=lambda _: [b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 200_000]),
    Case("Headers without number", always=incomplete("no answer from the storage"),
         audio=lambda _: [b"HTTP/1.1 200 OK\r\n" + b"X-One-More: x\r\n" * 2_000]),
    Case("No HTTP at all", always=incomplete("no answer from the storage"), audio=lambda _: [b"220 ftp ready\r\n"]),
    Case("Status 200, then the connection closes", always=incomplete("no answer from the storage"),
         audio=lambda _: [b"HTTP/1.1 200 OK\r\nContent-Le"]),
    Case("A reset after the headers", always=incomplete("broke off|no answer"),
         audio=lambda body: [head(f"Content-Length: {len(body)}"), 0.02, RESET]),
    Case("204 instead of 200", always=incomplete("the storage answered 204"),
         audio=lambda _: [head(status="204 No Content")]),
    Case("206, a part of it", always=incomplete("the storage answered 206"),
         audio=lambda body: sized(body[:2880], f"Content-Range: bytes 0-2879/{len(body)}",
         status="206 Partial Content")),
    Case("100 Continue before 200", audio=lambda body: [b"HTTP/1.1 100 Continue\r\n\r\n", *sized(body)]),
    Case("103 Early Hints before 200",
         audio=lambda body: [b"HTTP/1.1 103 Early Hints\r\n\r\n", *sized(body)]),
]  # fmt: skip


def listed(build: Build) -> tuple[str, Build]:
    return r"/calls\?", build


def busy(retry_after: str) -> tuple[str, Build]:
    lines = [f"Retry-After: {retry_after}"] if retry_after else []
    return listed(lambda _: sized(b"", *lines, status="429 Too Many Requests"))


AGAIN = "429 again and again"
ANSWERS = [
    Case("The list: JSON that is cut, nothing tells", always=fails("not JSON"),
         answer=listed(lambda body: [head(), body[: len(body) // 2]])),
    Case("The list: JSON that is cut, Content-Length tells", always=fails("broke off"),
         answer=listed(lambda body: sized(body[: len(body) // 2], length=len(body)))),
    Case("The list: HTML", always=fails("not JSON"), answer=listed(lambda _: sized(HTML_PAGE))),
    Case("The list: `null`", always=fails("not JSON|NoneType"), once=COMPLETE, answer=listed(lambda _: sized(b"null"))),
    Case("The list: an array", once=fails("a list, not an object"), always=fails("a list, not an object"),
         answer=listed(lambda _: sized(b"[]"))),
    Case("The list: nested 100,000 deep", once=incomplete("1 rows of the list are no calls"),
         always=incomplete("the list gave no total"),
         answer=listed(lambda _: sized(b'{"calls": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"))),
    Case("The list: a byte order mark in front", answer=listed(lambda body: sized(b"\xef\xbb\xbf" + body))),
    Case("The list: `total` is NaN", always=incomplete("the list gave no total"),
         answer=listed(lambda body: sized(body.replace(b'"total":6', b'"total":NaN')))),
    Case("The list: gzip, which was not asked for", always=fails("not JSON"),
         answer=listed(lambda body: sized(gzip.compress(body, mtime=0), "Content-Encoding: gzip"))),
    Case("The list: drips, longer than the deadline", always=fails("did not end within 0.1 seconds"),
         answer=listed(lambda body: [head(f"Content-Length: {len(body)}"), *[b" ", 0.03] * 6, body]),
         patches=((api_client, "_ANSWER_SECONDS", 0.1),)),
    Case("The list: a reset after the headers", always=fails("broke off|no answer"),
         answer=listed(lambda body: [head(f"Content-Length: {len(body)}"), 0.02, RESET])),
    Case("The list: a header that never ends", always=fails("no answer"),
         answer=listed(lambda _: [b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 200_000])),
    Case("The list: two Content-Lengths that differ", always=fails("no answer"),
         answer=listed(lambda body: sized(body, "Content-Length: 7"))),
    Case("The list: 204", always=fails("an empty body"),
         answer=listed(lambda _: [head(status="204 No Content")])),
    Case("429, Retry-After: a date in the past", always=fails(AGAIN), answer=busy("Wed, 21 Oct 2015 07:28:00 GMT")),
    Case("429, Retry-After: a date in a century", once=fails(QUOTA), always=fails(QUOTA),
         answer=busy("Wed, 21 Oct 2125 07:28:00 GMT")),
    Case("429, Retry-After: a date that is none", always=fails(AGAIN), answer=busy("Wed, 99 Oct 2015 77:28:00 GMT")),
    Case("429, Retry-After: NaN", always=fails(AGAIN), answer=busy("NaN")),
    Case("429, Retry-After: inf", once=fails(QUOTA), always=fails(QUOTA), answer=busy("inf")),
    Case("429, Retry-After: empty", always=fails(AGAIN), answer=busy(" ")),
    Case("A transcript: an empty body with status 200", always=waiting("transcripts are pending.*empty"),
         answer=("/transcript$", lambda _: sized(b"")), config=OTHERS, settings=ASK_EVERY_TRANSCRIPT),
    Case("A transcript: an error with status 200",
         always=waiting("pending.*status 200 with an error, “BUSY Try again”"),
         answer=("/transcript$", lambda _: sized(b'{"error": "Try again", "code": "BUSY"}')), config=OTHERS,
         settings=ASK_EVERY_TRANSCRIPT),
    Case("A transcript: cut, nothing tells", always=waiting("transcripts are pending.*not JSON"),
         answer=("/transcript$", lambda body: [head(), body[: len(body) // 2]]), config=OTHERS,
         settings=ASK_EVERY_TRANSCRIPT),
    *(Case(f"A URL for {whose}: {what}", always=incomplete(f"recording failed.*{words}"),
           answer=("/recording$", build), config=config, lasting=lasting, is_last_chance=config is HIDDEN)
      for whose, config, lasting in (("a recording that was listed", FEW, FIRST_URL_REFUSED),
                                     ("a recording that the list hides", HIDDEN, {}))
      for what, words, build in (
          ("an empty body", "an empty body", lambda _: sized(b"")),
          ("an error with status 200", "status 200 with an error, “BUSY Try again”",
           lambda _: sized(b'{"error": "Try again", "code": "BUSY"}')),
      )),
    Case("An extension: done, and the answer breaks off", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         answer=("/extend$", lambda body: sized(body, length=len(body) + 10)), has_rules=True),
    Case("An extension: done, and the answer is no JSON", once=DOUBT, always=DOUBT, afterwards=DOUBT,
         answer=("/extend$", lambda _: sized(HTML_PAGE)), has_rules=True),
]  # fmt: skip


_DAILY_TABLES = ("calls", "recordings", "transcripts", "utterances")

# Somebody else, or a disk, damages an archive that was complete. The next run of the day finds it.
DAMAGE = [
    *(Case(f"`{name}` is deleted", once=None, before=_damaged(partial(_delete_table, name)))
      for name in (*_DAILY_TABLES, "reconciliation")),
    Case("`reconciliation` is cut", once=None, before=_damaged(partial(_cut_table, "reconciliation"))),
    *(Case(f"`{name}` is cut, and moved away after the first run", once=None,
           before=_damaged(partial(_cut_table, name)),
           always=incomplete(f"tables/{name}/.*cannot be read as a partition"), between=partial(_delete_table, name))
      for name in _DAILY_TABLES),
    *(Case(f"An older version of `{name}` is restored", once=None,
           before=_damaged(partial(_restore_half, name)))
      for name in ("calls", "recordings", "transcripts", "utterances")),
    Case("The listing is deleted", once=None,
         before=_damaged(lambda our: our.archive.delete(f"state/listings/dt={DAY}.json"))),
    Case("A recording is deleted", once=None,
         before=_damaged(_delete_first_audio)),
    Case("`recordings` is deleted, and HTML stands where a recording was; it is moved away after the first run",
         once=None, before=_damaged(_swap_audio), between=_delete_first_audio,
         always=incomplete("1 × recording failed")),
    Case("A folder's marker lies in `tables/reconciliation/`", once=None,
         before=_damaged(lambda our: our.archive.write("tables/reconciliation/", b""))),
    Case("Upstream lists none any more, and `calls` is deleted", once=None, changes_the_world=True,
         always=incomplete("6 × call that was listed, and that the table `calls` has lost"),
         afterwards=incomplete("6 × call that was listed, and that the table `calls` has lost"),
         before=_damaged(_empty_upstream_and_lose_calls)),
]  # fmt: skip


SECTIONS: Mapping[str, list[Case]] = {
    "The list of calls": ENUMERATION,
    "Lies of the list": LIES,
    "Recordings": RECORDINGS,
    "Transcripts": TRANSCRIPTS,
    "Quota and rate": QUOTA_AND_RATE,
    "Longer retention": EXTENSION,
    "Lies of a gateway": GATEWAY,
    "Bytes on the wire: audio": CLOSED,
    "Bytes on the wire: the API": ANSWERS,
    "Damage to the archive": DAMAGE,
}
