-- Passes over offsets that cannot be read. The row of progress is locked, and is where the range begins. The last message
-- that is known lies before the range, so nothing is compared until a message behind it is stored. The epoch fences the process that
-- works on the partition.
-- $1 stream, $2 partition, $3 incarnation, $4 first offset, $5 behind the last, $6 id of the ledger's row, $7 what the broker
-- says, $8 the operator
WITH skipped AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, retries, started_at, completed_at)
    VALUES ($6, $1, $3, $2, 'unread', $4, $5, 0, 0, 0, 0, 0, 0, 0, 0, clock_timestamp(), clock_timestamp())
),
noted AS (
    INSERT INTO analytics.unread_ranges
           (batch_id, stream, incarnation, partition, first_offset, next_offset, reason, detail, acknowledged_at,
            acknowledged_by)
    VALUES ($6, $1, $3, $2, $4, $5, 'skipped', $7, clock_timestamp(), $8)
)
UPDATE analytics.partition_offsets SET next_offset = $5, last_message_hash = NULL, epoch = epoch + 1
WHERE stream = $1 AND partition = $2
