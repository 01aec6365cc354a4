-- Size and dead rows of the tables that are written again and again, as the statistics have them.
SELECT relname::text AS name, pg_total_relation_size(relid) AS bytes, n_live_tup AS rows, n_dead_tup AS dead_rows,
       greatest(last_vacuum, last_autovacuum) AS last_vacuum,
       coalesce(n_dead_tup::double precision / nullif(n_live_tup + n_dead_tup, 0), 0) AS dead_share
FROM pg_stat_user_tables
WHERE schemaname = 'analytics'
  AND relname IN ('hourly_rollups', 'daily_rollups', 'freshness_status', 'rollup_pending', 'ingestion_batches',
                  'ledger_hourly', 'dead_letters', 'org_hours', 'org_hours_by', 'attribution_parts', 'attribution_pending',
                  'attribution_values')
ORDER BY relname
