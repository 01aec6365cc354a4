-- A new incarnation. What lies before its progress was skipped, and the ledger says so: its chain begins at 0 in every
-- incarnation. The epoch fences the process that works on the partition.
-- $1 stream, $2 partition, $3 incarnation, $4 where progress begins, $5 id of the ledger's row
WITH skipped AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, retries, started_at, completed_at)
    SELECT $5, $1, $3, $2, 'gap', 0, $4, 0, 0, 0, 0, 0, 0, 0, 0, clock_timestamp(), clock_timestamp()
    WHERE $4 > 0
)
UPDATE analytics.partition_offsets
SET incarnation = $3, next_offset = $4, last_message_hash = NULL, epoch = epoch + 1
WHERE stream = $1 AND partition = $2
