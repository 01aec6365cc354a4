CREATE OR REPLACE VIEW analytics.known_watermarks AS
SELECT stream, partition, CASE WHEN watermark <= clock_timestamp() THEN watermark END AS watermark
FROM analytics.partition_watermarks;
DROP VIEW analytics.partition_completeness;
DROP TABLE analytics.unread_ranges;
-- A value of an enum type cannot be dropped. The rows are gaps to a build of before: nothing was read there.
UPDATE analytics.ingestion_batches SET kind = 'gap' WHERE kind = 'unread';
COMMENT ON TABLE analytics.ingestion_batches IS
    'rows of kind live, gap and fold of one (stream, incarnation, partition) form a chain: each starts where the last ended';
