-- Orgs of which a set does not have all of a day, or that is not known yet. $1 set, $2 start of the day
SELECT org_id FROM analytics.attribution_recounts WHERE set_id = $1 AND day >= $2
UNION
SELECT org_id FROM analytics.attribution_floors WHERE set_id = $1 AND floor_at > $2
UNION
SELECT org_id FROM analytics.retention_floors WHERE kind = 'attribution' AND floor_at > $2
UNION
SELECT org_id FROM analytics.erasures WHERE coalesce(floor_at, erased_at) > $2
