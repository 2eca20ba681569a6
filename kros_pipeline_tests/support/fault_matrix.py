"""The fault matrix, run and published: `fault_cases.py` is the table, `docs/fault-matrix.md` what the runs gave.

    python -m kros_pipeline_tests.support.fault_matrix --write     # the page anew

Every row is a whole day, all steps of it, that meets the fault; and the same day run once more when the fault is over,
21 hours later.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from kros_pipeline.core.errors import ExternalError, MissingTable, UnreadablePartition
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.api_client import ApiClient
from kros_pipeline.source.settings import SourceSettings
from kros_pipeline_tests.support.accounts import (
    AFTER_GRACE,
    DAY,
    LAST_CHANCE,
    UNTIL_SECOND_ANSWER,
    Account,
    MakeAccount,
    faults_by_name,
)
from kros_pipeline_tests.support.archive_check import (
    TABLES,
    as_stored,
    assert_archive_is_true,
    assert_nothing_is_false,
    completed_of,
)
from kros_pipeline_tests.support.fault_cases import NO_VERDICT, SECTIONS, Case, Expected
from kros_pipeline_tests.support.raw_server import RawServer
from kros_pipeline_tests.support.steps import reconcile_day

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
NOTHING_LEFT = "complete already"
WRITE = "KROS_TEST_WRITE_FAULT_MATRIX"
ATTEMPTS: dict[str, int | None] = {"first attempt": 1, "every attempt": None}
ROWS = [
    (section, case, often)
    for section, cases in SECTIONS.items()
    for case in cases
    for often, expected in zip(ATTEMPTS, (case.once, case.always), strict=True)
    if expected
]
_LABELS = "have a label that is neither the agent's nor the caller's"  # of the texts themselves, and no fault's
_ASSETS = {
    "list_calls": "calls",
    "archive_recordings": "recordings",
    "fetch_transcripts": "transcripts",
    "split_utterances": "utterances",
    "flag_calls": "flagged_calls",
    "extend_retention": "retention_extensions",
}


@dataclass(frozen=True)
class Outcome:
    """A day that met a fault, and the same day after it."""

    verdict: str
    sentences: list[str]
    lost: int
    duplicated: int
    corrupt: int
    verdict_after: str
    sentences_after: list[str]


def run(case: Case, often: str, make: MakeAccount, rules: Path) -> Outcome:
    """Two runs of one day: in the first the fault is met by so many attempts, in the second by none."""
    with ExitStack() as stack:
        settings = {"KROS_DOWNLOAD_WORKERS": "1"}  # so that the sentences are the same each time
        now = LAST_CHANCE if case.is_last_chance else AFTER_GRACE
        our = make(case.config, now=now, fresh=case.changes_the_world, **settings)
        if case.has_rules:
            our.environment["KROS_FLAG_RULES"] = str(rules)
        if case.before:
            case.before(our)
        truth = completed_of(our.krosai, DAY)
        with _faulty(case, ATTEMPTS[often], our, min(truth, default="")):
            verdict, sentences = _run_day(our, case.settings)
        first = _damage(truth, truth, our)
        is_as_it_was = not case.changes_the_world and case.before is None
        if is_as_it_was:
            assert_nothing_is_false(our.krosai, our.archive, DAY)
        stack.callback(our.krosai.set_faults, Faults())
        archived = {row["call_id"] for row in _rows(our, "recordings") if row["sha256"]}

        if case.between:
            case.between(our)
        our.now += UNTIL_SECOND_ANSWER
        if (verdict, sentences, first["lost"]) == ("complete", [], 0):
            verdict_after, sentences_after = NOTHING_LEFT, list[str]()
        else:
            verdict_after, sentences_after = _run_day(our, {})
        still = completed_of(our.krosai, DAY)
        known = still | truth
        last = _damage(truth, {call_id: known[call_id] for call_id in (still.keys() | archived) & known.keys()}, our)
        if is_as_it_was:
            assert_archive_is_true(our.krosai, our.archive, DAY)
        assert our.krosai.counters()["leaked_credentials"] == 0
        looks = (last,) if case.between else (first, last)  # a damaged table hides what an object is
        duplicated, corrupt = (max(look[name] for look in looks) for name in ("duplicated", "corrupt"))
        return Outcome(verdict, sentences, last["lost"], duplicated, corrupt, verdict_after, sentences_after)


@contextmanager
def _faulty(case: Case, attempts: int | None, our: Account, call_id: str) -> Iterator[None]:
    """The world as the case has it, and as it should be again afterwards."""
    knobs = dict(case.lasting)
    knobs |= {name: replace(fault, attempts=attempts) for name, fault in case.faults.items()}
    for name, fault in case.of_one_call.items():
        # The URLs that the list shows while `calls` is made are dropped unused: the day's and its half's, each twice.
        spent = attempts + 4 if attempts and name.startswith("url_") else attempts
        knobs[name] = replace(fault, attempts=spent, calls=(call_id,))
    with ExitStack() as stack:
        for module, name, value in case.patches:
            stack.enter_context(mock.patch.object(module, name, value))
        if case.audio:
            server = stack.enter_context(RawServer(our.krosai.storage_origin))
            server.misbehave("/recordings/", case.audio, attempts)
            knobs["url_foreign"] = Fault(calls=(call_id,), value=server.origin)
        if case.answer:
            server = stack.enter_context(RawServer(our.krosai.base_url))
            server.misbehave(*case.answer, attempts)
            stack.enter_context(_behind(server, our))
        our.krosai.reset_counters()
        our.krosai.set_faults(faults_by_name(knobs))
        yield
        our.krosai.set_faults(Faults())


@contextmanager
def _behind(server: RawServer, our: Account) -> Iterator[None]:
    """The archive remembers its account's base URL: only the requests go elsewhere."""

    def there(self: ApiClient, settings: SourceSettings, *rest: Any) -> None:
        begin(self, settings, *rest)
        self._base_url = f"{server.origin}/v1"

    begin = ApiClient.__init__
    with mock.patch.object(ApiClient, "__init__", there):
        yield
    our.__dict__.pop("ctx", None)


def _run_day(our: Account, settings: Mapping[str, str]) -> tuple[str, list[str]]:
    """The verdict, and everything that an operator reads of the day: checks, metadata and failures."""
    verdict, sentences = NO_VERDICT, []
    try:
        found = our.run_day(**settings).verdict
        verdict = found.verdict
        sentences += found.problems
    except (MissingTable, UnreadablePartition) as error:
        found = reconcile_day(our.ctx, DAY).verdict  # as the failed asset does
        verdict = found.verdict
        sentences += [*found.problems, str(error)]
    except ExternalError as error:
        sentences.append(f"calls: {error}")
    for step, report in our.reports.items():
        reported = sorted({reason for _, reason in report.problems})
        sentences += [f"{_ASSETS[step]}: {words}" for words in ([str(report.error)] if report.error else []) + reported]
    shown: list[str] = []
    sentences = [sentence for sentence in sentences if _LABELS not in sentence]
    for sentence in sentences:
        words = sentence.partition(": ")[2] if sentence.split(":")[0] in _ASSETS.values() else sentence
        if not any(words.rstrip(".") in before for before in shown):
            shown.append(_without_chance(sentence))
    return verdict, shown


def _without_chance(sentence: str) -> str:
    """A sentence without what the machine's load decides: how much of a broken body had come."""
    return re.sub(r"(broke off after|,) [\d,]+ bytes( had come)?", r"\1 … bytes\2", sentence)


def _damage(truth: dict[str, Any], wanted: dict[str, Any], our: Account) -> Counter[str]:
    """What no archive may ever show. `truth` has every call that there ever was, `wanted` those that must be safe."""
    found: Counter[str] = Counter()
    for name, unique in TABLES.items():
        keys = Counter(tuple(row[column] for column in unique) for row in _rows(our, name))
        found["duplicated"] += sum(keys.values()) - len(keys)
    extended = our.krosai.counters()["extends_applied_by_call"]
    found["duplicated"] += sum(times - 1 for times in extended.values() if times > 1)
    calls, recordings, texts = (
        {row["call_id"]: row for row in _rows(our, name)} for name in ("calls", "recordings", "transcripts")
    )
    objects = our.archive.objects(f"audio/dt={DAY}/")
    found["duplicated"] += max(0, len(objects) - sum(row["status"] == "archived" for row in recordings.values()))
    for call_id, row in recordings.items():
        key = (row["object_key"] or "").removeprefix(f"{our.archive.prefix}/")
        if row["status"] == "archived" and call_id in truth:
            body = our.archive.read(key) if key in objects else b""
            found["corrupt"] += not hashlib.sha256(body).hexdigest() == row["sha256"] == truth[call_id]["sha256"]
    for call_id, row in texts.items():
        if row["status"] == "kept" and call_id in truth:
            found["corrupt"] += row["text"] != as_stored(truth[call_id]["transcript"] or "")
    for call_id, call in wanted.items():
        has_audio = recordings.get(call_id, {}).get("status") == "archived"
        has_text = texts.get(call_id, {}).get("status") == "kept"
        is_safe = (has_audio or not call["recorded"]) and (has_text or call["transcript"] is None)
        found["lost"] += call_id not in calls or not is_safe
    return found


def _rows(our: Account, name: str) -> list[dict[str, Any]]:
    """The rows of a table; none where it is cut."""
    try:
        return our.archive.table(name, DAY)
    except pa.ArrowException:
        return []


def is_as(verdict: str, sentences: list[str], expected: Expected) -> bool:
    """Whether a day came to what the table promises."""
    if expected.sentences is None:
        return verdict in (expected.verdict, NOTHING_LEFT) and not sentences
    return verdict == expected.verdict and re.search(expected.sentences, " ".join(sentences)) is not None


def page(outcomes: Mapping[tuple[str, Case, str], Outcome]) -> str:
    """Return the published page: the summary by family, how to read the rows, and the rows."""
    parts = [_PREFACE.format(rows=len(outcomes), summary=_summarize(outcomes), open_rows=_list_open_rows(outcomes))]
    for section in SECTIONS:
        parts.append(f"\n## {section}\n\n{_HEADING}")
        for (of_section, case, often), out in outcomes.items():
            if of_section == section:
                cells = [
                    case.wrong,
                    often if case.once else "all along",
                    out.verdict,
                    _cell(out.sentences) or "nothing: it mended itself",
                    f"{out.lost} / {out.duplicated} / {out.corrupt}",
                    _cell([out.verdict_after, *out.sentences_after]),
                ]
                parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


def _summarize(outcomes: Mapping[tuple[str, Case, str], Outcome]) -> str:
    """Return a Markdown table with one row for each family of faults, and one for all."""
    families = {section: [out for row, out in outcomes.items() if row[0] == section] for section in SECTIONS}
    lines = [_table_line(_SUMMARY_COLUMNS), _table_line(["---", *("---:" for _ in _SUMMARY_COLUMNS[1:])])]
    lines += [_table_line([_link(section), *_count(outs)]) for section, outs in families.items()]
    lines.append(_table_line([f"**{cell}**" for cell in ("all", *_count(list(outcomes.values())))]))
    return "\n".join(lines)


def _count(outs: list[Outcome]) -> list[str]:
    """Return the numbers of one row of the summary."""
    verdicts = Counter(out.verdict for out in outs)
    numbers = [len(outs), *(verdicts[verdict] for verdict in _VERDICTS)]
    numbers += [sum(getattr(out, name) for out in outs) for name in ("lost", "duplicated", "corrupt")]
    return [*map(str, numbers), f"{sum(map(_is_healed, outs))} of {len(outs)}"]


def _is_healed(out: Outcome) -> bool:
    return out.verdict_after in ("complete", NOTHING_LEFT)


def _list_open_rows(outcomes: Mapping[tuple[str, Case, str], Outcome]) -> str:
    """Name the rows that are not complete after the next run."""
    names = [f"“{case.wrong}”" for (_, case, _), out in outcomes.items() if not _is_healed(out)]
    if not names:
        return "Every day is complete after the next run."
    return (
        f"Not complete after the next run: {', '.join(names)}.\n"
        "A recording that upstream deleted for good stays lost, and the day stays `incomplete` until an operator\n"
        "acknowledges it ([custody](custody.md#what-cannot-be-archived-any-more))."
    )


def _link(section: str) -> str:
    """Return a link to a section, by the anchor that GitHub derives from its heading."""
    anchor = re.sub(r"[^\w -]", "", section.lower()).replace(" ", "-")
    return f"[{section}](#{anchor})"


def _table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(sentences: list[str]) -> str:
    return "<br>".join(sentence.replace("|", "\\|").replace("<", "&lt;") for sentence in sentences)


_COLUMNS = (
    "what goes wrong",
    "how often",
    "verdict of the day",
    "what the operator reads",
    "lost / duplicated / corrupt",
    "after the next run",
)
_HEADING = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"

_VERDICTS = ("complete", "waiting", "incomplete", NO_VERDICT)
_SUMMARY_COLUMNS = (
    "family of faults",
    "rows",
    "complete",
    "waiting",
    "incomplete",
    "run fails",
    "lost",
    "duplicated",
    "corrupt",
    "complete after the next run",
)

_PREFACE = """\
# The fault matrix

What can go wrong at KrosAI, in its storage and on the network, and what each fault does to a day. Each of the {rows}
rows is a whole day, all steps of it, run against the simulator with one fault, and then run once more without the
fault, 21 hours later. Where the list hides a recording, or a call vanishes, it is a day that upstream deletes within 48
hours: there, one answer that a call has no recording is final. In sum:

{summary}

{open_rows}

The tests run every row, compare it with what [the table of cases](../kros_pipeline_tests/support/fault_cases.py)
promises, and compare this page with the outcome. `make fault-matrix` writes the page.

## How to read a row

- **How often**: the fault meets the first attempt of each request, or every attempt of the first run. “All along”:
  the service behaves like that in both runs.
- **Verdict of the day**, after the first run: `complete`; `waiting`, where something is missing that may still come by
  itself; `incomplete`, and the day fails. Where nothing could be listed, the run fails and there is no verdict.
- **What the operator reads**: the day's problems, and the errors of single steps and calls, as the checks and the
  metadata in the Dagster UI show them. Numbers that depend on the machine's load are shown as “…”.
- **Lost / duplicated / corrupt**: counts of calls, recordings, transcripts and extensions, compared with what the
  simulator knows. Lost: upstream still has it, or the archive had it, and the archive does not have it after the second
  run. Duplicated: rows or objects that exist twice, after either run. Corrupt: bytes or characters that differ from the
  simulator's, after either run.
- **After the next run**: `complete`, or `complete already` where the first run left nothing to do, means that every
  call, recording and transcript that upstream has is in the archive, byte for byte."""


def main() -> int:
    """Runs the whole matrix by its test, with the waits left out as there, and writes the page."""
    if sys.argv[1:] != ["--write"]:
        print("usage: python -m kros_pipeline_tests.support.fault_matrix --write")
        return 2
    os.environ[WRITE] = "1"
    page = str(Path(__file__).parents[1] / "system" / "test_fault_matrix.py")
    # pyreqwest has a plugin for pytest, which pytest would rewrite, and the pipeline has imported it already.
    return int(pytest.main([page, "-k", "published", "-W", "ignore::pytest.PytestAssertRewriteWarning"]))


if __name__ == "__main__":
    sys.exit(main())
