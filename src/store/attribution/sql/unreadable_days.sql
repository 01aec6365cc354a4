-- Orgs and UTC days that a batch may have events of: those of its raw events, and where raw events of its time are gone those of which
-- there are rollups. $1 batch, $2 its first event, $3 its last, $4 start of the first one's day
SELECT org_id, date_trunc('day', occurred_at, 'UTC') AS day
FROM analytics.usage_events
WHERE batch_id = $1 AND occurred_at >= $2 AND occurred_at <= $3
GROUP BY 1, 2
UNION
SELECT u.org_id, u.bucket_start
FROM analytics.daily_usage AS u
     JOIN analytics.raw_horizons AS h ON (h.org_id IS NULL OR h.org_id = u.org_id) AND u.bucket_start < h.raw_from
WHERE u.bucket_start >= $4 AND u.bucket_start <= $3
