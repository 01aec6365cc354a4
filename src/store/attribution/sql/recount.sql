-- Counts the raw events of a day by org, hour and the values of a set, org by org, the keys with most events first: these keep their
-- names where not all can. Read in pieces, so that a day of any size fits into memory. {values} is put in by the code.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out, $5 whether events count that are not folded yet, $6 fields of
-- the metadata
DECLARE attributed NO SCROLL CURSOR FOR
WITH counted AS (
    SELECT org_id, date_trunc('hour', occurred_at, 'UTC') AS bucket_start, {values} AS values,
           count(*) AS invocations,
           count(*) FILTER (WHERE status <> 'success') AS errors,
           sum(input_tokens)::bigint AS input_tokens,
           sum(output_tokens)::bigint AS output_tokens,
           sum(cost_cents) AS cost_cents
    FROM analytics.usage_events
    WHERE occurred_at >= $1 AND occurred_at < $2
      AND ($3::uuid IS NULL OR org_id = $3)
      AND org_id <> ALL ($4::uuid[])
      AND ($5 OR batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.attribution_pending)))
      AND $6::text[] IS NOT NULL
    GROUP BY 1, 2, 3
)
SELECT org_id, bucket_start, values, invocations, errors, input_tokens, output_tokens, cost_cents
FROM (SELECT *, sum(invocations) OVER (PARTITION BY org_id, values) AS of_key FROM counted) AS sized
ORDER BY org_id, of_key DESC, values, bucket_start
