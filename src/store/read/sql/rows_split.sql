-- Behind rows_rollups.sql or rows_org_hours.sql, where days of a zone begin within an hour of UTC: those hours are left out there, and
-- their raw events taken instead.
-- $1 to $4 as in rows_rollups.sql, $9 starts of the days, $11 and $12 starts and ends of the parts of those hours that are within the
-- range, $13 upper bounds of the histogram's buckets
    UNION ALL
    SELECT ($9::timestamptz[])[width_bucket(occurred_at, $9)], model_id,
           (status = 'success')::integer::bigint, (status = 'error')::integer::bigint,
           (status = 'timeout')::integer::bigint, (status = 'throttled')::integer::bigint,
           input_tokens, output_tokens, cost_cents, NULL, width_bucket(latency_ms - 1, $13::integer[])
    FROM unnest($11::timestamptz[], $12::timestamptz[]) AS part (part_start, part_end)
         CROSS JOIN LATERAL (
             SELECT occurred_at, model_id, status, input_tokens, output_tokens, cost_cents, latency_ms
             FROM analytics.usage_events
             WHERE org_id = $1 AND occurred_at >= part_start AND occurred_at < part_end
               -- The same again for the planner, which leaves out the chunks beyond.
               AND occurred_at >= $2 AND occurred_at < $3
               AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
               -- Only what the watermark has passed: a batch is merged first.
               AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending))
             -- Kept apart from the join: each part reads its own chunk alone. A plain join reads all events of the range,
             -- and holds each against every part: seconds for a month, minutes for a year.
             OFFSET 0
         ) AS events
