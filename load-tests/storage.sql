-- What is stored, a line each: name, bytes. Rollups and ledger with their indexes and what is stored beside the row.
SELECT 'raw rows', table_bytes + toast_bytes FROM hypertable_detailed_size('analytics.usage_events')
UNION ALL
SELECT 'raw indexes', index_bytes FROM hypertable_detailed_size('analytics.usage_events')
UNION ALL
SELECT 'hourly rollups', pg_total_relation_size('analytics.hourly_rollups')
UNION ALL
SELECT 'daily rollups', pg_total_relation_size('analytics.daily_rollups')
UNION ALL
SELECT 'ledger', pg_total_relation_size('analytics.ingestion_batches') + pg_total_relation_size('analytics.ledger_hourly')
UNION ALL
SELECT 'database', pg_database_size(current_database())
