-- An org whose events came by a partition of another is known only as far as that partition was read: one that has stood still for
-- a day holds what its producers sent since. Only replaces a view: a build of before works on beside it.

-- Where more of an org may still be than in its own partition: it came there within the last day of what was read there.
CREATE OR REPLACE VIEW analytics.misrouted_lately AS
SELECT m.org_id, m.stream, m.partition, m.home
FROM analytics.misrouted_orgs m LEFT JOIN analytics.partition_completeness c USING (stream, partition)
WHERE m.last_seen_at > least(clock_timestamp(), coalesce(c.watermark, '-infinity')) - INTERVAL '24 hours';
