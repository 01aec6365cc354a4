-- Notes the final hours that a rebuild changes: what they had, and what they are to have.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out, $5 reason, $6 first hour that is not final, $7 now
WITH kept AS (
    SELECT org_id, bucket_start, model_id, successes + errors + timeouts + throttled AS invocations, input_tokens,
           output_tokens, cost_cents
    FROM analytics.hourly_rollups
    WHERE bucket_start >= $1 AND bucket_start < $2
      AND ($3::uuid IS NULL OR org_id = $3)
      AND org_id <> ALL ($4::uuid[])
),
counted AS (
    SELECT org_id, bucket_start, model_id, successes + errors + timeouts + throttled AS invocations, input_tokens,
           output_tokens, cost_cents
    FROM pg_temp.recounted_hourly
)
INSERT INTO analytics.rollup_revisions AS v
       (revision_id, org_id, bucket_start, model_id, reason, period, revised_at, changes,
        before_invocations, before_input_tokens, before_output_tokens, before_cost_cents,
        after_invocations, after_input_tokens, after_output_tokens, after_cost_cents)
-- Ids are made here: how many it takes is not known before.
SELECT analytics.uuid_v7($7),
       org_id, bucket_start, model_id, $5, date_trunc('hour', $7::timestamptz, 'UTC'), $7, 1,
       coalesce(k.invocations, 0), coalesce(k.input_tokens, 0), coalesce(k.output_tokens, 0), coalesce(k.cost_cents, 0),
       coalesce(c.invocations, 0), coalesce(c.input_tokens, 0), coalesce(c.output_tokens, 0), coalesce(c.cost_cents, 0)
FROM kept k FULL JOIN counted c USING (org_id, bucket_start, model_id)
WHERE bucket_start < $6
  AND (coalesce(k.invocations, 0), coalesce(k.input_tokens, 0), coalesce(k.output_tokens, 0), coalesce(k.cost_cents, 0))
      IS DISTINCT FROM
      (coalesce(c.invocations, 0), coalesce(c.input_tokens, 0), coalesce(c.output_tokens, 0), coalesce(c.cost_cents, 0))
ON CONFLICT (org_id, bucket_start, model_id, reason, period) DO UPDATE SET
    revised_at = excluded.revised_at,
    changes = v.changes + 1,
    after_invocations = excluded.after_invocations,
    after_input_tokens = excluded.after_input_tokens,
    after_output_tokens = excluded.after_output_tokens,
    after_cost_cents = excluded.after_cost_cents
