-- What is asked of pending rows: those of a partition, oldest first, and whether there are any.
CREATE INDEX rollup_pending_partition ON analytics.rollup_pending (stream, partition, commit_no);
-- Few rows, each updated many times a second: room on the page, so that an update stays on its page and touches no index, also
-- while a long snapshot keeps the old versions; and vacuumed by their number of updates, not by their size.
ALTER TABLE analytics.partition_offsets SET
    (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE analytics.partition_watermarks SET
    (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
-- A queue: nearly all of it is dead soon.
ALTER TABLE analytics.rollup_pending SET
    (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
