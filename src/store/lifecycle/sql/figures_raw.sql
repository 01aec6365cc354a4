-- How large raw events are. The size of a chunk includes its compressed form.
SELECT count(*) AS chunks, coalesce(sum(s.total_bytes), 0)::bigint AS bytes,
       count(*) FILTER (WHERE c.is_compressed) AS compressed_chunks,
       coalesce(sum(s.total_bytes) FILTER (WHERE c.is_compressed), 0)::bigint AS compressed_bytes,
       min(c.range_start) AS oldest
FROM timescaledb_information.chunks c
JOIN public.chunks_detailed_size('analytics.usage_events') s USING (chunk_schema, chunk_name)
WHERE c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events'
