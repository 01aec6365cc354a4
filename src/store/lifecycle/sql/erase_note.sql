-- Notes an org's erasure, and from when on what there is of it may be shown again: an event may have lain a little ahead of
-- the clock. Before its rollups are deleted.
-- $1 org, $2 the end of its last pending hour (null: nothing is pending)
INSERT INTO analytics.erasures AS e (org_id, erased_at, floor_at)
SELECT $1, now, greatest(now, $2, (SELECT max(last_event_at) + INTERVAL '1 us' FROM analytics.daily_usage WHERE org_id = $1))
FROM clock_timestamp() AS now
ON CONFLICT (org_id) DO UPDATE SET erased_at = excluded.erased_at, floor_at = greatest(e.floor_at, excluded.floor_at)
