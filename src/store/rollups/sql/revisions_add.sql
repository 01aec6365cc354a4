-- Notes what is about to be added to hours that were final. The rows are there and locked. What changes again within
-- the same hour goes into the same row: before is what it was at first.
-- $1 ids, $2 orgs, $3 buckets, $4 models, $5 reasons, $6 invocations, $7 and $8 tokens, $9 cost: those added; $10 now
INSERT INTO analytics.rollup_revisions AS v
       (revision_id, org_id, bucket_start, model_id, reason, period, revised_at, changes,
        before_invocations, before_input_tokens, before_output_tokens, before_cost_cents,
        after_invocations, after_input_tokens, after_output_tokens, after_cost_cents)
SELECT d.revision_id, org_id, bucket_start, model_id, d.reason, date_trunc('hour', $10, 'UTC'), $10, 1,
       r.successes + r.errors + r.timeouts + r.throttled, r.input_tokens, r.output_tokens, r.cost_cents,
       r.successes + r.errors + r.timeouts + r.throttled + d.invocations, r.input_tokens + d.input_tokens,
       r.output_tokens + d.output_tokens, r.cost_cents + d.cost_cents
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::numeric[])
     AS d (revision_id, org_id, bucket_start, model_id, reason, invocations, input_tokens, output_tokens, cost_cents)
JOIN analytics.hourly_rollups r USING (org_id, bucket_start, model_id)
ON CONFLICT (org_id, bucket_start, model_id, reason, period) DO UPDATE SET
    revised_at = excluded.revised_at,
    changes = v.changes + 1,
    after_invocations = excluded.after_invocations,
    after_input_tokens = excluded.after_input_tokens,
    after_output_tokens = excluded.after_output_tokens,
    after_cost_cents = excluded.after_cost_cents
