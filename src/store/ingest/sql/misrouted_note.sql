-- Adds a batch's misrouted events to what is on record of their orgs, in the order of the key.
-- $1 stream and $2 partition that they came by, $3 orgs, $4 the streams where these are at home, $5 events of each
INSERT INTO analytics.misrouted_orgs AS m (org_id, stream, partition, home, events, first_seen_at, last_seen_at)
SELECT org_id, $1, $2, home, events, clock_timestamp(), clock_timestamp()
FROM unnest($3::uuid[], $4::text[], $5::bigint[]) AS d (org_id, home, events)
ON CONFLICT (org_id, stream) DO UPDATE SET
    home = excluded.home, events = m.events + excluded.events, last_seen_at = excluded.last_seen_at
RETURNING org_id, events AS all_events, first_seen_at
