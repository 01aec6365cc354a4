-- How large each table is, the largest first. Chunks count for their hypertable, in the compressed form too.
SELECT c.relname::text AS name,
       coalesce(CASE WHEN h.hypertable_name IS NULL THEN pg_total_relation_size(c.oid)
                     ELSE public.hypertable_size(c.oid::regclass) END, 0)::bigint AS bytes,
       -- None where nothing has counted them yet: statistics of a chunk are of its last ANALYZE, those of other tables are lost with a crash.
       CASE WHEN h.hypertable_name IS NULL AND s.n_live_tup = 0 AND c.reltuples < 0 AND pg_relation_size(c.oid) > 0 THEN NULL
            WHEN h.hypertable_name IS NULL THEN s.n_live_tup
            WHEN EXISTS (SELECT FROM timescaledb_information.chunks k
                         JOIN pg_class p ON p.oid = format('%I.%I', k.chunk_schema, k.chunk_name)::regclass
                         WHERE k.hypertable_schema = 'analytics' AND k.hypertable_name = c.relname
                           AND NOT k.is_compressed AND p.reltuples < 0) THEN NULL
            ELSE greatest(public.approximate_row_count(c.oid::regclass), 0) END::bigint AS rows
FROM pg_class c
LEFT JOIN timescaledb_information.hypertables h ON h.hypertable_schema = 'analytics' AND h.hypertable_name = c.relname
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY bytes DESC, name
