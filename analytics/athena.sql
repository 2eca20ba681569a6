-- The tables of a kros_pipeline archive for Amazon Athena and the Glue catalog. `make tables` writes this file.
--
-- Replace BUCKET/PREFIX, and 2025-01-01 by the first day of the archive, and run the statements one by one (Athena
-- takes one at a time) in a database of their own: CREATE DATABASE kros; Glue shows the columns' comments.
--
-- Partitions are projected: a new day is there as soon as its file is. No MSCK REPAIR TABLE, no crawler. Columns that
-- an old file lacks are null. Times are UTC. Filter by dt, a text like '2025-01-10': only those days are read.
--   SELECT speaker, count(*) AS turns FROM kros.utterances WHERE dt BETWEEN '2025-01-10' AND '2025-01-31' GROUP BY 1

CREATE EXTERNAL TABLE IF NOT EXISTS `calls` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `organization_id` string COMMENT 'the organization, from the call or from the setting',
  `status` string COMMENT 'the call’s status upstream',
  `direction` string COMMENT 'inbound or outbound',
  `from_number` string COMMENT 'who called (E.164)',
  `to_number` string COMMENT 'who was called (E.164)',
  `duration_seconds` double COMMENT 'the call’s duration upstream',
  `cost_cents` double COMMENT 'what the call cost, in cents',
  `endpoint_id` string COMMENT 'the endpoint that handled the call',
  `phone_number_id` string COMMENT 'the phone number’s id upstream',
  `created_at` timestamp COMMENT 'when the call was created (UTC)',
  `answered_at` timestamp COMMENT 'when it was answered (UTC)',
  `completed_at` timestamp COMMENT 'when it was completed (UTC)',
  `has_recording` boolean COMMENT 'whether the list has ever shown a recording of it',
  `listed_transcript` string COMMENT 'the transcript as the list showed it: it may be shortened or unlabelled',
  `extra` string COMMENT 'JSON of every field without a column here; never a recording’s URL',
  `listed_at` timestamp COMMENT 'when the row last changed (UTC)'
)
COMMENT 'Every completed call of the day, as the list showed it; rows are added and updated, never removed but by erasure.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/calls/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/calls/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `recordings` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `status` string COMMENT 'archived, pending, not_recorded, lost, failed or refused',
  `reason` string COMMENT 'why it is not archived, in words',
  `object_key` string COMMENT 'the object’s key in the bucket, where it is archived',
  `size_bytes` bigint COMMENT 'the object’s size',
  `sha256` string COMMENT 'SHA-256 of its bytes, hexadecimal',
  `duration_seconds` double COMMENT 'the audio’s length, counted over its frames',
  `declared_duration_seconds` double COMMENT 'the length that the list declared',
  `sample_rate_hz` bigint COMMENT 'samples a second',
  `channels` bigint COMMENT '1 is mono',
  `bitrate_bps` bigint COMMENT 'bits a second, the mean over the frames',
  `attempts` bigint COMMENT 'downloads begun, over all runs',
  `archived_at` timestamp COMMENT 'when the object was put (UTC)',
  `upstream_expires_on` date COMMENT 'from this day on upstream may have deleted its copy',
  `defects` string COMMENT 'what is odd about the archived bytes, in words; null where nothing is',
  `quarantine_key` string COMMENT 'the key in the bucket of the last body that came and was rejected',
  `declared_size_bytes` bigint COMMENT 'the size that upstream declared, where it was asked for the recording'
)
COMMENT 'What became of each call’s recording: one row a call.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/recordings/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/recordings/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `transcripts` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `status` string COMMENT 'kept, pending or none',
  `source` string COMMENT 'list or call: which answer of the API the text is from',
  `text` string COMMENT 'the text, every character of it',
  `word_count` bigint COMMENT 'words of the speech, between white space: the sum over the turns',
  `language` string COMMENT 'the language, where upstream was asked for the call',
  `confidence` double COMMENT 'upstream’s confidence, 0 to 1, where it was asked for the call',
  `fetched_at` timestamp COMMENT 'when the row last changed (UTC)',
  `reason` string COMMENT 'why it is not kept, or what is doubtful about the text, in words',
  `asked_at` timestamp COMMENT 'when upstream last answered a request about a doubtful kept text (UTC)',
  `upstream_word_count` bigint COMMENT 'upstream’s own count of words, where it gave one'
)
COMMENT 'Each call’s transcript, as it came: one row a call.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/transcripts/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/transcripts/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `utterances` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `turn_index` bigint COMMENT '0 for the first turn of the call',
  `speaker` string COMMENT 'agent, caller, other (another label) or unknown (no sure label)',
  `speaker_label` string COMMENT 'the label as it was written',
  `text` string COMMENT 'the speech alone, without the label',
  `word_count` bigint COMMENT 'words of the speech, between white space',
  `char_start` bigint COMMENT 'where it begins in transcripts.text, label included (code points)',
  `char_end` bigint COMMENT 'where it ends, exclusive (code points)',
  `created_at` timestamp COMMENT 'when the call was created (UTC)',
  `direction` string COMMENT 'the call’s direction',
  `language` string COMMENT 'the transcript’s language, where known',
  `start_seconds` double COMMENT 'seconds from the call’s begin, only where the text itself says them'
)
COMMENT 'Turns of speech, in their order: one row a turn. transcripts.text[char_start:char_end] of all turns is the text.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/utterances/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/utterances/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `flagged_calls` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `rule_id` string COMMENT 'the rule’s id',
  `reason` string COMMENT 'which conditions held, in words; no speech',
  `turn_index` bigint COMMENT 'the first turn that satisfied the rule, where it is about a turn',
  `extend_days` bigint COMMENT 'for how many days the rule wants the recording kept upstream',
  `rules_version` string COMMENT 'which text of the rules file: the start of its SHA-256'
)
COMMENT 'Calls that a rule flags: one row a call and rule.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/flagged_calls/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/flagged_calls/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `retention_extensions` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `decision_id` string COMMENT 'call, rule and days, hashed: a decision is sent once',
  `rule_id` string COMMENT 'the rule that decided',
  `requested_days` bigint COMMENT 'the days that the rule wants',
  `sent_days` bigint COMMENT 'the days that were sent: the plan’s maximum, if that is less',
  `status` string COMMENT 'extended, unconfirmed, refused or not_allowed',
  `reason` string COMMENT 'why it is not extended, in words',
  `attempts` bigint COMMENT 'requests of which an intent was written',
  `requested_at` timestamp COMMENT 'when the last request was about to be sent (UTC)',
  `confirmed_at` timestamp COMMENT 'when upstream confirmed it (UTC)',
  `settled_at` timestamp COMMENT 'when an operator settled what was unconfirmed or refused (UTC)'
)
COMMENT 'What upstream was asked to keep longer, and what it answered: one row a decision.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/retention_extensions/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/retention_extensions/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `reconciliation` (
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `verdict` string COMMENT 'complete, waiting or incomplete',
  `listed_total` bigint COMMENT 'distinct calls of the proved list that this day keeps; null without a proof',
  `stats_total` bigint COMMENT 'what upstream’s statistics say, where readable; weighs nothing',
  `calls` bigint COMMENT 'rows of the table calls',
  `erased` bigint COMMENT 'calls of the day that were erased on request',
  `recordings_expected` bigint COMMENT 'calls but those that were not recorded',
  `recordings_archived` bigint COMMENT 'verified and in the bucket',
  `recordings_pending` bigint COMMENT 'not there yet, or not yet tried',
  `recordings_lost` bigint COMMENT 'gone upstream before they were archived',
  `recordings_failed` bigint COMMENT 'tried and not verified, or refused',
  `objects_in_bucket` bigint COMMENT 'audio objects that a listing of the bucket shows for the day',
  `bytes_in_bucket` bigint COMMENT 'their size together',
  `transcripts_expected` bigint COMMENT 'calls but those without a transcript',
  `transcripts_kept` bigint COMMENT 'transcripts with their text',
  `transcripts_pending` bigint COMMENT 'not there yet, or not yet asked for',
  `utterances` bigint COMMENT 'rows of the table utterances',
  `problems` array<string> COMMENT 'what is wrong or was odd, a sentence each',
  `checked_at` timestamp COMMENT 'when the check began, before anything was read (UTC)',
  `audio_seconds` double COMMENT 'the length of the archived recordings together',
  `api_requests` bigint COMMENT 'API requests of the run until then; null where the run was not the daily one'
)
COMMENT 'One row a day: what the source says exists, what the tables say, and what the bucket really holds.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/reconciliation/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/reconciliation/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `call_events` (
  `call_id` string COMMENT 'the call’s id, as KrosAI gives it',
  `call_date` date COMMENT 'the UTC day on which the call was created; the partition',
  `event_index` bigint COMMENT '0 for the first event of the call, in upstream’s order',
  `event` string COMMENT 'the event’s name as upstream gives it; null: upstream has no events of the call',
  `occurred_at` timestamp COMMENT 'when it happened (UTC)',
  `hangup_cause` string COMMENT 'why the call ended, in the event that says it',
  `extra` string COMMENT 'JSON of every other field of the event; never a recording’s URL',
  `asked_at` timestamp COMMENT 'when upstream answered (UTC)'
)
COMMENT 'What happened in each call, with KROS_CALL_EVENTS=on: one row an event, or one without `event` if there is none.'
PARTITIONED BY (`dt` string COMMENT 'the day, as call_date has it')
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/tables/call_events/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2025-01-01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/tables/call_events/dt=${dt}/'
);
