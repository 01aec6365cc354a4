-- What became of an org's messages by hour of commit, and how complete that is; see report_head.sql. Counts of
-- batches that are not merged yet are not in it, as with every response.
-- $1 org, $2 start, $3 end, $4 stream, $5 the org's partition, $6 most rows
WITH head AS (
    SELECT now() AS queried_at,
           analytics.org_watermark($1, $4, $5) AS watermark,
           analytics.floor_of($1, 'ledger') AS hours_from,
           (SELECT min(noted_at) FROM analytics.unread_ranges
            WHERE stream = $4 AND partition = $5 AND acknowledged_at IS NULL) AS unread_since,
           max(last_event_at) AS last_event_at,
           max(last_rollup_at) AS last_rollup_at
    FROM analytics.freshness_status
    WHERE org_id = $1
),
hours AS (
    SELECT hour, received, stored, duplicates, conflicts, rejected, late
    FROM analytics.ledger_hourly
    WHERE org_id = $1 AND hour >= $2 AND hour < $3
    ORDER BY hour
    LIMIT $6
)
SELECT head.*, hours.*
FROM head LEFT JOIN hours ON true
ORDER BY hour
