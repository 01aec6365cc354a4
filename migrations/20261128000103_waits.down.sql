ALTER TABLE analytics.rollup_pending RESET
    (autovacuum_vacuum_threshold, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
ALTER TABLE analytics.partition_watermarks RESET
    (fillfactor, autovacuum_vacuum_threshold, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
ALTER TABLE analytics.partition_offsets RESET
    (fillfactor, autovacuum_vacuum_threshold, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
DROP INDEX analytics.rollup_pending_partition;
