-- What reviewers noted, as a view for DuckDB: one row a review.
--
--   SET VARIABLE archive = 's3://BUCKET/PREFIX';   -- or a folder; no slash at the end
--   .read analytics/reviews.sql
--
-- An archive without a review has no file to read: DuckDB then says "No files found".
CREATE OR REPLACE VIEW reviews AS
SELECT
    call_id,
    call_date,
    reviewer,
    reviewed_at,
    verdict,
    answers,                    -- question to answer; answers['resolved']
    comment,
    form,                       -- which text of the form: the start of its SHA-256
    row_number() OVER (PARTITION BY call_id, reviewer ORDER BY reviewed_at DESC) = 1 AS is_latest_of_reviewer
FROM read_json(
    getvariable('archive') || '/reviews/dt=*/*/*.json',
    columns = {
        call_id: 'VARCHAR', call_date: 'DATE', reviewer: 'VARCHAR', reviewed_at: 'TIMESTAMP WITH TIME ZONE',
        verdict: 'VARCHAR', answers: 'MAP(VARCHAR, VARCHAR)', comment: 'VARCHAR', form: 'VARCHAR'
    },
    format = 'auto'
);
