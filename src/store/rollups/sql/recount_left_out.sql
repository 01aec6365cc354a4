-- Orgs whose raw events or rollups of a day were purged: what came late is not all of it.
-- $1 start of the day
SELECT org_id FROM analytics.raw_horizons WHERE org_id IS NOT NULL AND raw_from > $1
UNION
SELECT org_id FROM analytics.retention_floors WHERE kind IN ('hourly', 'daily') AND floor_at > $1
