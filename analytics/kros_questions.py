"""Answer what analysts ask first, in pandas, as the views of duckdb.sql do: the same columns and the same values.

    import kros_questions
    facts = kros_questions.call_facts("s3://BUCKET/PREFIX", "2025-01-01", "2025-01-31")

Each function takes the archive, and the first and the last day, or none for all days. duckdb.sql says what the columns
mean. Copy this file together with kros_tables.py.
"""

import re
import unicodedata
from functools import partial
from os import PathLike

import pandas as pd
from kros_tables import read_table

Archive = str | PathLike[str]
_CALL = ["call_id", "call_date"]
_QUESTION_MARK = "[?？؟՞፧⁇⁈⁉]"
_BLANKS = re.compile(r"[\0\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")


def days(archive: Archive, first_day: object = None, last_day: object = None) -> pd.DataFrame:
    """Return a row for each day that has calls or was checked, with its verdict."""
    checked = read_table(
        archive, "reconciliation", first_day, last_day, ["call_date", "verdict", "problems", "checked_at"]
    )
    calls = read_table(archive, "calls", first_day, last_day, ["call_date"]).drop_duplicates()
    found = calls.merge(checked, on="call_date", how="outer")
    found.insert(2, "is_complete", (found.verdict == "complete").fillna(False).astype(bool))
    found["problems"] = [[] if pd.api.types.is_scalar(value) else list(value) for value in found.problems]
    return found.sort_values("call_date", ignore_index=True)


def call_facts(archive: Archive, first_day: object = None, last_day: object = None) -> pd.DataFrame:
    """Return a row for each call: turns and words by speaker, share of talk, questions, flags, how it ended."""
    read = partial(read_table, archive, first_day=first_day, last_day=last_day)
    facts = read("calls", columns=[*_CALL, "created_at", "direction", "duration_seconds"])
    for table, status, name in (("recordings", "archived", "is_recorded"), ("transcripts", "kept", "has_transcript")):
        rows = read(table, columns=[*_CALL, "status"])
        facts = facts.merge(rows[rows.status == status][_CALL].assign(**{name: True}), on=_CALL, how="left")
        facts[name] = facts[name].eq(True)
    facts = facts.merge(_count_turns(read("utterances")), on=_CALL, how="left")
    facts["estimated_seconds_per_turn"] = facts.duration_seconds / facts.turns.astype("Float64")
    flags = read("flagged_calls", columns=[*_CALL, "rule_id"]).sort_values("rule_id")
    facts = facts.merge(flags.groupby(_CALL).rule_id.agg(list).rename("flag_rules").reset_index(), on=_CALL, how="left")
    facts["flag_rules"] = [value if isinstance(value, list) else [] for value in facts.flag_rules]
    facts.insert(list(facts).index("flag_rules"), "is_flagged", facts.flag_rules.map(bool))
    try:
        events = read("call_events", columns=[*_CALL, "event_index", "hangup_cause"])
    except FileNotFoundError:  # KROS_CALL_EVENTS was never on
        return facts.assign(hangup_cause=pd.Series(pd.NA, index=facts.index, dtype="string"))
    last = events.dropna(subset="hangup_cause").sort_values("event_index").drop_duplicates(_CALL, keep="last")
    return facts.merge(last[[*_CALL, "hangup_cause"]], on=_CALL, how="left")


def _count_turns(turns: pd.DataFrame) -> pd.DataFrame:
    """Return what is counted over the turns of each call."""
    by_call = turns.groupby(_CALL)
    counted = by_call.agg(turns=("turn_index", "size"), words=("word_count", "sum"))
    turns = turns.assign(asks=turns.text.str.contains(_QUESTION_MARK, regex=True).astype("Int64"))
    for speaker in ("agent", "caller"):
        said = turns[turns.speaker == speaker]
        of_speaker = said.groupby(_CALL).agg(
            turns=("turn_index", "size"), words=("word_count", "sum"), questions=("asks", "sum")
        )
        counted = counted.join(of_speaker.add_prefix(f"{speaker}_"))
    counted = counted.fillna(0).astype("Int64")
    both = counted.agent_words + counted.caller_words
    counted["agent_share_of_words"] = counted.agent_words.astype("Float64").div(both.mask(both == 0).astype("Float64"))
    ordered = turns.sort_values("turn_index")
    roles = ordered[ordered.speaker.isin(["agent", "caller"])]
    counted["first_speaker"] = roles.drop_duplicates(_CALL).set_index(_CALL).speaker
    longest = ordered.sort_values("word_count", ascending=False, kind="stable").drop_duplicates(_CALL).set_index(_CALL)
    counted["longest_turn_words"], counted["longest_turn_speaker"] = longest.word_count, longest.speaker
    order = [
        "turns", "agent_turns", "caller_turns", "words", "agent_words", "caller_words", "agent_share_of_words",
        "first_speaker", "longest_turn_words", "longest_turn_speaker", "agent_questions", "caller_questions",
    ]  # fmt: skip
    return counted[order].reset_index()


def day_facts(archive: Archive, first_day: object = None, last_day: object = None) -> pd.DataFrame:
    """Return a row for each day, empty days included: calls, minutes, shares recorded and with transcript, flagged."""
    facts = call_facts(archive, first_day, last_day)
    counted = facts.groupby("call_date").agg(
        calls=("call_id", "size"),
        minutes=("duration_seconds", "sum"),
        recorded=("is_recorded", "sum"),
        with_transcript=("has_transcript", "sum"),
        flagged=("is_flagged", "sum"),
    )
    found = days(archive, first_day, last_day)[["call_date", "verdict", "is_complete"]]
    found = found.merge(counted.reset_index(), on="call_date", how="left")
    numbers = ["calls", "recorded", "with_transcript", "flagged"]
    found[numbers] = found[numbers].fillna(0).astype("Int64")
    found["minutes"] = found.minutes.fillna(0) / 60
    calls = found.calls.mask(found.calls == 0).astype("Float64")
    found["share_recorded"] = found.recorded.astype("Float64") / calls
    found["share_with_transcript"] = found.with_transcript.astype("Float64") / calls
    order = ["calls", "minutes", "recorded", "share_recorded", "share_with_transcript", "flagged"]
    return found[["call_date", "verdict", "is_complete", *order]]


def find_turns(
    archive: Archive, phrase: str, first_day: object = None, last_day: object = None, *, said_by: str | None = None
) -> pd.DataFrame:
    """Return the turns with a phrase, of all speakers or of one. Case, white space and composition do not matter."""
    turns = read_table(archive, "utterances", first_day, last_day)
    if said_by is not None:
        turns = turns[turns.speaker == said_by]
    wanted = _fold_speech(phrase)
    is_found = pd.Series([wanted in _fold_speech(text) for text in turns.text], turns.index, dtype=bool)
    return turns[is_found].reset_index(drop=True)


def phrase_by_day(
    archive: Archive, phrase: str, first_day: object = None, last_day: object = None, *, said_by: str | None = None
) -> pd.DataFrame:
    """Return a row for each day: the calls with a phrase, beside those whose transcript could have it."""
    turns = find_turns(archive, phrase, first_day, last_day, said_by=said_by)
    counted = turns.groupby("call_date").agg(
        calls_with_phrase=("call_id", "nunique"), turns_with_phrase=("call_id", "size")
    )
    transcripts = read_table(archive, "transcripts", first_day, last_day, [*_CALL, "status"])
    kept = transcripts[transcripts.status == "kept"].groupby("call_date").size().rename("calls_with_transcript")
    found = days(archive, first_day, last_day)[["call_date", "is_complete"]]
    for more in (kept, counted):
        found = found.merge(more.reset_index(), on="call_date", how="left")
    numbers = ["calls_with_transcript", "calls_with_phrase", "turns_with_phrase"]
    return found.assign(**{name: found[name].fillna(0).astype("Int64") for name in numbers})


def _fold_speech(text: str) -> str:
    """Return speech as phrases are looked for in it: single blanks, composed characters, lower case.

    The replacements are what DuckDB makes of these letters: one small letter for each, wherever it stands.
    """
    composed = unicodedata.normalize("NFC", _BLANKS.sub(" ", text))
    return composed.replace("İ", "i").lower().replace("ς", "σ")
