-- Sums of raw events of the parts of hours that a boundary lies within, by the values of a set, which {values} are. What is not folded yet
-- is left out.
-- $1 org, $2 starts and $3 ends of the parts, $4 start and $5 end of the range, $6 fields of the metadata, $7 most rows
SELECT part_start, values, count(*) AS invocations, count(*) FILTER (WHERE status <> 'success') AS errors,
       sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens, sum(cost_cents) AS cost_cents
FROM unnest($2::timestamptz[], $3::timestamptz[]) AS part (part_start, part_end)
     CROSS JOIN LATERAL (
         SELECT {values} AS values, status, input_tokens, output_tokens, cost_cents
         FROM analytics.usage_events
         WHERE org_id = $1 AND occurred_at >= part_start AND occurred_at < part_end
           -- The same again for the planner, which leaves out the chunks beyond.
           AND occurred_at >= $4 AND occurred_at < $5
           AND $6::text[] IS NOT NULL
           AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.attribution_pending))
         -- Kept apart from the join: each part reads its own chunk alone.
         OFFSET 0
     ) AS events
GROUP BY 1, 2
LIMIT $7
