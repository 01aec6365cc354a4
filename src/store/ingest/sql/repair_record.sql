-- Records that a replayed batch put rows back. The ledger's row is for readers: the rows it names are counted where
-- they were counted first.
WITH ledger AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
    VALUES ($1, $2, $3, $4, 'repair', $5, $6, $7, $7, 0, 0, 0, 0, $8, $9, $10, $11, $12, clock_timestamp())
),
progress AS (
    UPDATE analytics.replays SET repaired = repaired + $7 WHERE replay_id = $13
)
-- Dedupe windows that were loaded while the rows were away do not know them.
UPDATE analytics.partition_offsets SET foreign_writes = foreign_writes + 1 WHERE stream = ANY($14)
