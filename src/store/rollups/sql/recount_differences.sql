-- What rollups have beside what their raw events make, where that is not the same: the first ones, and how many. Rollups are what
-- readers see, to the last latency; a materialised histogram in the form that the service packs.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out, $5 most rows
WITH kept AS (
    SELECT org_id, bucket_start, model_id, {measures}
    FROM (
        SELECT org_id, bucket_start, model_id, {measures} FROM analytics.{unit}_rollups
        UNION ALL
        SELECT m.org_id, m.bucket_start, m.model_id, m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens,
               m.cost_cents, m.latency_sum, m.latency_min, m.latency_max,
               analytics.pack_histogram(substring(m.latency_histogram FROM 2)), m.last_event_at
        FROM analytics.rollup_engine e
        JOIN analytics.{unit}_materialised m ON m.bucket_start >= e.continuous_from AND m.bucket_start < e.{unit}_to
    ) AS seen
    WHERE bucket_start >= $1 AND bucket_start < $2
      AND ($3::uuid IS NULL OR org_id = $3)
      AND org_id <> ALL ($4::uuid[])
      -- A row of nothing is as good as none.
      AND successes + errors + timeouts + throttled <> 0
),
counted AS (
    SELECT org_id, bucket_start, model_id, {measures} FROM pg_temp.recounted_{unit}
),
differing AS (
    SELECT org_id, bucket_start, model_id,
           coalesce(k.successes + k.errors + k.timeouts + k.throttled, 0) AS kept_invocations,
           coalesce(k.input_tokens, 0) AS kept_input_tokens,
           coalesce(k.output_tokens, 0) AS kept_output_tokens,
           coalesce(k.cost_cents, 0) AS kept_cost_cents,
           coalesce(c.successes + c.errors + c.timeouts + c.throttled, 0) AS raw_invocations,
           coalesce(c.input_tokens, 0) AS raw_input_tokens,
           coalesce(c.output_tokens, 0) AS raw_output_tokens,
           coalesce(c.cost_cents, 0) AS raw_cost_cents,
           -- Beside what a reader compares at a glance: which columns it is.
           ARRAY(
               SELECT key FROM jsonb_each(to_jsonb(k)) AS a FULL JOIN jsonb_each(to_jsonb(c)) AS b USING (key)
               WHERE a.value IS DISTINCT FROM b.value ORDER BY key) AS columns,
           k.last_event_at AS kept_last_event_at,
           c.last_event_at AS raw_last_event_at
    FROM kept k FULL JOIN counted c USING (org_id, bucket_start, model_id)
    WHERE ROW (k.*) IS DISTINCT FROM ROW (c.*)
)
SELECT *, count(*) OVER () AS differing
FROM differing
ORDER BY bucket_start, org_id, model_id
LIMIT $5
