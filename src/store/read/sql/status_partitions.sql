-- Who has each partition, how far it is, up to when responses are complete, and what the supervision log has last of it.
-- $1 streams
SELECT o.partition, o.next_offset, p.name AS owner, coalesce(p.expires_at >= clock_timestamp(), false) AS leased,
       w.watermark, extract(epoch FROM clock_timestamp() - w.watermark)::double precision AS lag_seconds,
       c.watermark AS complete_to, extract(epoch FROM clock_timestamp() - c.watermark)::double precision AS complete_lag_seconds,
       (SELECT coalesce(sum(u.next_offset - u.first_offset), 0)::bigint FROM analytics.unread_ranges u
        WHERE u.stream = o.stream AND u.partition = o.partition AND u.acknowledged_at IS NULL) AS unread,
       -- By the order of ids, which is that of time, no more of the log is read than that hour.
       (SELECT count(*) FROM analytics.supervision_events g
        WHERE g.actor = 'partition/' || o.partition AND g.what = 'gap'
          AND g.event_id >= (SELECT analytics.uuid_v7(clock_timestamp() - INTERVAL '1 hour'))) AS gaps,
       e.what, e.occurred_at, e.cause
FROM analytics.partition_offsets o
     LEFT JOIN analytics.processes p ON p.process_id = o.owner
     LEFT JOIN analytics.partition_watermarks w ON w.stream = o.stream AND w.partition = o.partition
     LEFT JOIN analytics.partition_completeness c ON c.stream = o.stream AND c.partition = o.partition
     -- Not what an operator requested, which changes nothing by itself; and only by the owner: another's is over.
     LEFT JOIN LATERAL (
         SELECT what, occurred_at, cause FROM analytics.supervision_events e
         WHERE e.actor = 'partition/' || o.partition AND e.process = p.name
           AND e.what IN ('started', 'restarted', 'failed', 'stalled', 'fenced', 'parked', 'stopped', 'taken')
         ORDER BY e.event_id DESC LIMIT 1) e ON true
WHERE o.stream = ANY ($1)
ORDER BY o.partition
