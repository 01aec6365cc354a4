-- The chunks of a continuous aggregate that ended before a moment: how many, where the last one ends, and their bytes, also
-- of their compressed form.
-- $1 the aggregate's table, $2 the moment
SELECT count(*), max(c.range_end), coalesce(sum(s.total_bytes), 0)::bigint
FROM timescaledb_information.chunks c
JOIN public.chunks_detailed_size($1::text::regclass) s USING (chunk_schema, chunk_name)
WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name) = $1 AND c.range_end <= $2
