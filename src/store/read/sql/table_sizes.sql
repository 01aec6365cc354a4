-- How large each table is, the largest first. Chunks count for their hypertable, in the compressed form too.
SELECT c.relname::text AS name,
       coalesce(CASE WHEN h.hypertable_name IS NULL THEN pg_total_relation_size(c.oid)
                     ELSE public.hypertable_size(c.oid::regclass) END, 0)::bigint AS bytes,
       greatest(CASE WHEN h.hypertable_name IS NULL THEN s.n_live_tup
                     ELSE public.approximate_row_count(c.oid::regclass) END, 0)::bigint AS rows
FROM pg_class c
LEFT JOIN timescaledb_information.hypertables h ON h.hypertable_schema = 'analytics' AND h.hypertable_name = c.relname
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY bytes DESC, name
