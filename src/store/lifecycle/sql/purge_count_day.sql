-- Events and bytes of a chunk, also of its compressed form.
-- $1 its start, $2 its end
SELECT (SELECT count(*) FROM analytics.usage_events WHERE occurred_at >= $1 AND occurred_at < $2),
       (SELECT coalesce(sum(s.total_bytes), 0)::bigint
        FROM timescaledb_information.chunks c
        JOIN public.chunks_detailed_size('analytics.usage_events') s USING (chunk_schema, chunk_name)
        WHERE c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events' AND c.range_start = $1)
