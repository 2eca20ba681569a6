-- The tables of a kros_pipeline archive as DuckDB views, and what analysts ask first of them.
--
--   SET VARIABLE archive = 's3://BUCKET/PREFIX';   -- or a folder
--   .read analytics/duckdb.sql                     -- in Python: duckdb.sql(open("analytics/duckdb.sql").read())
--   SELECT * FROM day_facts ORDER BY call_date;
--
-- The views read the archive anew at each query, and need the variable in each session. A filter by call_date reads
-- the rows of those days only; of the other days' files DuckDB looks at the columns, at each query. docs/tables.md
-- explains every column; the views below say what they add.

SELECT CASE
    WHEN getvariable('archive') IS NULL THEN error('First: SET VARIABLE archive = ''s3://BUCKET/PREFIX''')
END AS archive_is_set;
SET VARIABLE archive = rtrim(getvariable('archive'), '/');

-- Otherwise created_at::DATE is the day in this machine's time zone, and differs from call_date near midnight.
SET TimeZone = 'UTC';

-- >>> generated
-- Every completed call of the day, as the list showed it; rows are added and updated, never removed but by erasure.
CREATE OR REPLACE VIEW calls AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::VARCHAR AS organization_id,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS direction,
    NULL::VARCHAR AS from_number,
    NULL::VARCHAR AS to_number,
    NULL::DOUBLE AS duration_seconds,
    NULL::DOUBLE AS cost_cents,
    NULL::VARCHAR AS endpoint_id,
    NULL::VARCHAR AS phone_number_id,
    NULL::TIMESTAMPTZ AS created_at,
    NULL::TIMESTAMPTZ AS answered_at,
    NULL::TIMESTAMPTZ AS completed_at,
    NULL::BOOLEAN AS has_recording,
    NULL::VARCHAR AS listed_transcript,
    NULL::VARCHAR AS extra,
    NULL::TIMESTAMPTZ AS listed_at,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/calls/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- What became of each call's recording: one row a call.
CREATE OR REPLACE VIEW recordings AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS reason,
    NULL::VARCHAR AS object_key,
    NULL::BIGINT AS size_bytes,
    NULL::VARCHAR AS sha256,
    NULL::DOUBLE AS duration_seconds,
    NULL::DOUBLE AS declared_duration_seconds,
    NULL::BIGINT AS sample_rate_hz,
    NULL::BIGINT AS channels,
    NULL::BIGINT AS bitrate_bps,
    NULL::BIGINT AS attempts,
    NULL::TIMESTAMPTZ AS archived_at,
    NULL::DATE AS upstream_expires_on,
    NULL::VARCHAR AS defects,
    NULL::VARCHAR AS quarantine_key,
    NULL::BIGINT AS declared_size_bytes,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/recordings/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- Each call's transcript, as it came: one row a call.
CREATE OR REPLACE VIEW transcripts AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS source,
    NULL::VARCHAR AS text,
    NULL::BIGINT AS word_count,
    NULL::VARCHAR AS language,
    NULL::DOUBLE AS confidence,
    NULL::TIMESTAMPTZ AS fetched_at,
    NULL::VARCHAR AS reason,
    NULL::TIMESTAMPTZ AS asked_at,
    NULL::BIGINT AS upstream_word_count,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/transcripts/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- Turns of speech, in their order: one row a turn. transcripts.text[char_start:char_end] of all turns is the text.
CREATE OR REPLACE VIEW utterances AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::BIGINT AS turn_index,
    NULL::VARCHAR AS speaker,
    NULL::VARCHAR AS speaker_label,
    NULL::VARCHAR AS text,
    NULL::BIGINT AS word_count,
    NULL::BIGINT AS char_start,
    NULL::BIGINT AS char_end,
    NULL::TIMESTAMPTZ AS created_at,
    NULL::VARCHAR AS direction,
    NULL::VARCHAR AS language,
    NULL::DOUBLE AS start_seconds,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/utterances/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- Calls that a rule flags: one row a call and rule.
CREATE OR REPLACE VIEW flagged_calls AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::VARCHAR AS rule_id,
    NULL::VARCHAR AS reason,
    NULL::BIGINT AS turn_index,
    NULL::BIGINT AS extend_days,
    NULL::VARCHAR AS rules_version,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/flagged_calls/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- What upstream was asked to keep longer, and what it answered: one row a decision.
CREATE OR REPLACE VIEW retention_extensions AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::VARCHAR AS decision_id,
    NULL::VARCHAR AS rule_id,
    NULL::BIGINT AS requested_days,
    NULL::BIGINT AS sent_days,
    NULL::VARCHAR AS status,
    NULL::VARCHAR AS reason,
    NULL::BIGINT AS attempts,
    NULL::TIMESTAMPTZ AS requested_at,
    NULL::TIMESTAMPTZ AS confirmed_at,
    NULL::TIMESTAMPTZ AS settled_at,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/retention_extensions/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- One row a day: what the source says exists, what the tables say, and what the bucket really holds.
CREATE OR REPLACE VIEW reconciliation AS
SELECT
    NULL::DATE AS call_date,
    NULL::VARCHAR AS verdict,
    NULL::BIGINT AS listed_total,
    NULL::BIGINT AS stats_total,
    NULL::BIGINT AS calls,
    NULL::BIGINT AS erased,
    NULL::BIGINT AS recordings_expected,
    NULL::BIGINT AS recordings_archived,
    NULL::BIGINT AS recordings_pending,
    NULL::BIGINT AS recordings_lost,
    NULL::BIGINT AS recordings_failed,
    NULL::BIGINT AS objects_in_bucket,
    NULL::BIGINT AS bytes_in_bucket,
    NULL::BIGINT AS transcripts_expected,
    NULL::BIGINT AS transcripts_kept,
    NULL::BIGINT AS transcripts_pending,
    NULL::BIGINT AS utterances,
    NULL::VARCHAR[] AS problems,
    NULL::TIMESTAMPTZ AS checked_at,
    NULL::DOUBLE AS audio_seconds,
    NULL::BIGINT AS api_requests,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT * REPLACE (dt AS call_date)
FROM read_parquet(getvariable('archive') || '/tables/reconciliation/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true);

-- What happened in each call, with KROS_CALL_EVENTS=on: one row an event, or one without `event` if there is none.
CREATE OR REPLACE VIEW call_events AS
SELECT
    NULL::VARCHAR AS call_id,
    NULL::DATE AS call_date,
    NULL::BIGINT AS event_index,
    NULL::VARCHAR AS event,
    NULL::TIMESTAMPTZ AS occurred_at,
    NULL::VARCHAR AS hangup_cause,
    NULL::VARCHAR AS extra,
    NULL::TIMESTAMPTZ AS asked_at,
    NULL::DATE AS dt
WHERE false
UNION ALL BY NAME
SELECT COLUMNS('^(call_id|call_date|event_index|event|occurred_at|hangup_cause|extra|asked_at|dt)$')
FROM read_parquet(getvariable('archive') || '/tables/call*/dt=*/part-0.parquet',
    hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true, filename = true)
WHERE filename LIKE '%/tables/call_events/dt=%';
-- <<< generated

-- Days with their verdict. Join it to use complete days only:
--   SELECT avg(turns) FROM call_facts JOIN days USING (call_date) WHERE is_complete;
-- A day that has calls and was never checked has no verdict, and is not complete.
CREATE OR REPLACE VIEW days AS
SELECT
    call_date,
    verdict,
    coalesce(verdict = 'complete', false) AS is_complete,
    coalesce(problems, []) AS problems,
    checked_at
FROM (SELECT DISTINCT call_date FROM calls)
FULL JOIN reconciliation USING (call_date);

-- One row a call. Counts of turns and words are null without a kept transcript; speakers other than agent and caller
-- count in turns and words only.
--   agent_share_of_words      of the words of agent and caller
--   first_speaker             agent or caller, whoever speaks first
--   longest_turn_*            by words; the first of equally long ones
--   *_questions               turns with a question mark, in any script
--   estimated_seconds_per_turn   an estimate: the call's duration by its turns, silence and ringing included
--   hangup_cause              null without the table call_events (KROS_CALL_EVENTS)
CREATE OR REPLACE VIEW call_facts AS
WITH spoken AS (
    SELECT
        call_id,
        call_date,
        count(*) AS turns,
        count(*) FILTER (speaker = 'agent') AS agent_turns,
        count(*) FILTER (speaker = 'caller') AS caller_turns,
        sum(word_count)::BIGINT AS words,
        coalesce(sum(word_count) FILTER (speaker = 'agent'), 0)::BIGINT AS agent_words,
        coalesce(sum(word_count) FILTER (speaker = 'caller'), 0)::BIGINT AS caller_words,
        arg_min(speaker, turn_index) FILTER (speaker IN ('agent', 'caller')) AS first_speaker,
        max(word_count) AS longest_turn_words,
        arg_max(speaker, word_count * 1000000000 - turn_index) AS longest_turn_speaker,
        count(*) FILTER (speaker = 'agent' AND regexp_matches(text, '[?？؟՞፧⁇⁈⁉]')) AS agent_questions,
        count(*) FILTER (speaker = 'caller' AND regexp_matches(text, '[?？؟՞፧⁇⁈⁉]')) AS caller_questions
    FROM utterances
    GROUP BY call_id, call_date
),
flags AS (
    SELECT call_id, call_date, list_sort(list(rule_id)) AS flag_rules
    FROM flagged_calls
    GROUP BY call_id, call_date
),
hangups AS (
    SELECT call_id, call_date, arg_max(hangup_cause, event_index) AS hangup_cause
    FROM call_events
    WHERE hangup_cause IS NOT NULL
    GROUP BY call_id, call_date
)
SELECT
    calls.call_id,
    calls.call_date,
    calls.created_at,
    calls.direction,
    calls.duration_seconds,
    coalesce(recordings.status = 'archived', false) AS is_recorded,
    coalesce(transcripts.status = 'kept', false) AS has_transcript,
    turns,
    agent_turns,
    caller_turns,
    words,
    agent_words,
    caller_words,
    agent_words / nullif(agent_words + caller_words, 0) AS agent_share_of_words,
    first_speaker,
    longest_turn_words,
    longest_turn_speaker,
    agent_questions,
    caller_questions,
    calls.duration_seconds / nullif(turns, 0) AS estimated_seconds_per_turn,
    flag_rules IS NOT NULL AS is_flagged,
    coalesce(flag_rules, []) AS flag_rules,
    hangup_cause
FROM calls
LEFT JOIN recordings USING (call_id, call_date)
LEFT JOIN transcripts USING (call_id, call_date)
LEFT JOIN spoken USING (call_id, call_date)
LEFT JOIN flags USING (call_id, call_date)
LEFT JOIN hangups USING (call_id, call_date);

-- One row a day, empty days included: their shares are null. `recorded` counts archived recordings.
CREATE OR REPLACE VIEW day_facts AS
SELECT
    days.call_date,
    verdict,
    is_complete,
    count(call_id) AS calls,
    coalesce(sum(duration_seconds), 0) / 60 AS minutes,
    count(call_id) FILTER (is_recorded) AS recorded,
    count(call_id) FILTER (is_recorded) / nullif(count(call_id), 0) AS share_recorded,
    count(call_id) FILTER (has_transcript) / nullif(count(call_id), 0) AS share_with_transcript,
    count(call_id) FILTER (is_flagged) AS flagged
FROM days
LEFT JOIN call_facts USING (call_date)
GROUP BY ALL;

-- Speech as phrases are looked for in it: single blanks, composed characters, lower case (one small sigma). A null
-- character becomes a blank before nfc_normalize, which would end the text there.
CREATE OR REPLACE MACRO fold_speech(speech) AS
    replace(lower(nfc_normalize(regexp_replace(speech, '[\x00\s\v\x{85}\pZ]+', ' ', 'g'))), 'ς', 'σ');

-- The turns with a phrase, of all speakers or of one: FROM find_turns('refund', said_by := 'caller')
CREATE OR REPLACE MACRO find_turns(phrase, said_by := NULL) AS TABLE
SELECT *
FROM utterances
WHERE contains(fold_speech(text), fold_speech(phrase)) AND (said_by IS NULL OR speaker = said_by);

-- Whether a call has a turn with a phrase: SELECT call_id FROM calls_with_turn('refund', said_by := 'caller')
CREATE OR REPLACE MACRO calls_with_turn(phrase, said_by := NULL) AS TABLE
SELECT call_id, call_date, count(*) AS turns_with_phrase, min(turn_index) AS first_turn
FROM find_turns(phrase, said_by := said_by)
GROUP BY call_id, call_date;

-- Per day, the calls with a phrase, beside the calls whose transcript could have it:
--   FROM phrase_by_day('refund') ORDER BY call_date
CREATE OR REPLACE MACRO phrase_by_day(phrase, said_by := NULL) AS TABLE
SELECT
    days.call_date,
    is_complete,
    count(call_id) FILTER (has_transcript) AS calls_with_transcript,
    count(turns_with_phrase) AS calls_with_phrase,
    coalesce(sum(turns_with_phrase), 0)::BIGINT AS turns_with_phrase
FROM days
LEFT JOIN call_facts USING (call_date)
LEFT JOIN calls_with_turn(phrase, said_by := said_by) USING (call_id, call_date)
GROUP BY ALL;
