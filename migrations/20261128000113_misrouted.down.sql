CREATE OR REPLACE VIEW analytics.misrouted_lately AS
SELECT org_id, stream, partition, home FROM analytics.misrouted_orgs
WHERE last_seen_at > clock_timestamp() - INTERVAL '24 hours';
