-- What reviewers noted, as a view for DuckDB: one row a review.
--
--   SET VARIABLE archive = 's3://BUCKET/PREFIX';   -- or a folder; no slash at the end
--   .read analytics/reviews.sql
--
-- An archive without a review has no file to read: DuckDB then says "No files found".
-- An object that is no review, because somebody damaged it, has no row.
CREATE OR REPLACE VIEW reviews AS
WITH texts AS (
    SELECT TRY(decode(content)) AS text FROM read_blob(getvariable('archive') || '/reviews/dt=*/*/*.json')
),
found AS (
    SELECT json_transform(text, '{
        "call_id": "VARCHAR", "call_date": "DATE", "reviewer": "VARCHAR", "reviewed_at": "TIMESTAMP WITH TIME ZONE",
        "verdict": "VARCHAR", "answers": "MAP(VARCHAR, VARCHAR)", "comment": "VARCHAR", "form": "VARCHAR"
    }') AS review
    FROM texts
    WHERE CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' ELSE false END
)
SELECT
    review.call_id,
    review.call_date,
    review.reviewer,
    review.reviewed_at,
    review.verdict,
    review.answers,             -- question to answer; answers['resolved']
    review.comment,
    review.form,                -- which text of the form: the start of its SHA-256
    row_number() OVER (PARTITION BY review.call_id, review.reviewer ORDER BY review.reviewed_at DESC) = 1
        AS is_latest_of_reviewer
FROM found;
