-- A page of an org's revisions, newest first: ids are in the order of time. One statement, hence one snapshot: a change
-- that the watermark has passed is in it.
-- $1 org, $2 start, $3 end of the buckets, $4 models (empty: all), $5 reason (null: all), $6 older than this one (null: from
-- the newest), $7 most rows, $8 stream, $9 the org's partition
WITH head AS (
    SELECT analytics.org_watermark($1, $8, $9) AS watermark,
           -- A change of an hour that was purged would say that there was nothing before.
           greatest(analytics.floor_of($1, 'revisions'), analytics.floor_of($1, 'hourly')) AS revisions_from
),
page AS (
    SELECT revision_id, bucket_start, model_id, reason, revised_at, changes,
           before_invocations, before_input_tokens, before_output_tokens, before_cost_cents,
           after_invocations, after_input_tokens, after_output_tokens, after_cost_cents
    FROM analytics.rollup_revisions
    WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
      AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
      AND ($5::text IS NULL OR reason = $5)
      AND ($6::uuid IS NULL OR revision_id < $6)
    ORDER BY revision_id DESC
    LIMIT $7
)
-- The head comes once even where the page is empty.
SELECT head.*, page.*
FROM head LEFT JOIN page ON true
ORDER BY revision_id DESC
