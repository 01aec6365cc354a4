-- The rest of a replayed batch in one round trip: its ledger row, its aggregates, and the replay's own progress. The
-- partition's offset stays where it is; its dedupe window misses what was stored here.
-- $1 id, $2 stream, $3 incarnation, $4 partition, $5 first offset, $6 behind the last, $7 received, $8 stored, $9 duplicates,
-- $10 conflicts, $11 rejected, $12 late, $13 orgs, $14 first event, $15 last event, $16 retries, $17 start, $18 aggregates,
-- $19 the batch's span as a `traceparent`, $20 what it adds to attribution (null: nothing), $21 whether that was summed,
-- $22 the replay, $23 epoch
WITH ledger AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
    VALUES ($1, $2, $3, $4, 'replay', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, clock_timestamp())
    RETURNING completed_at
),
pending AS (
    INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates, traceparent, attributed)
    SELECT $1, $2, $4, $6, completed_at, $18, $19, $21 FROM ledger
),
attribution AS (
    INSERT INTO analytics.attribution_pending (batch_id, stream, partition, committed_at, partials)
    SELECT $1, $2, $4, completed_at, $20 FROM ledger WHERE $20 IS NOT NULL
),
progress AS (
    UPDATE analytics.replays SET next_offset = $6, received = received + $7, stored = stored + $8,
           duplicates = duplicates + $9, rejected = rejected + $11
    WHERE replay_id = $22
)
UPDATE analytics.partition_offsets
SET foreign_writes = foreign_writes + CASE WHEN $8 > 0 THEN 1 ELSE 0 END
FROM ledger
WHERE stream = $2 AND partition = $4 AND epoch = $23
RETURNING ledger.completed_at
