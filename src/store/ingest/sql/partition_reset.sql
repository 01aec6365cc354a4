-- A new incarnation: progress begins at $4. What lies before was skipped, and the ledger says so: its chain begins at 0
-- in every incarnation. The epoch fences the process that works on the partition.
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
