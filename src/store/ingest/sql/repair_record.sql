-- Records that a replayed batch put rows back. The ledger's row is for readers: the rows it names are counted where
-- they were counted first.
-- $1 id, $2 stream, $3 incarnation, $4 partition, $5 first offset, $6 behind the last, $7 rows, $8 orgs, $9 first event, $10 last event,
-- $11 retries, $12 start, $13 the replay, $14 streams whose windows miss the rows
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
