-- The rest of a batch in one round trip: its ledger row, its aggregates for the merger, and the partition's progress.
-- The last is conditional on the epoch although the row is locked: what is written here must never be another's.
-- $1 id, $2 stream, $3 incarnation, $4 partition, $5 where the batch before ended, $6 behind the last, $7 received,
-- $8 stored, $9 duplicates, $10 conflicts, $11 rejected, $12 late, $13 orgs, $14 first event, $15 last event, $16 retries, $17 start,
-- $18 aggregates, $19 the batch's span as a `traceparent`, $20 what it adds to attribution (null: nothing), $21 whether that was
-- summed, $22 hash of the last message, $23 epoch; where something before it was not read: $24 where the messages begin,
-- $25 whether the broker left it out (else the stream had dropped it), $26 in which words, $27 when the message before was published
WITH missing AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, retries, started_at, completed_at)
    SELECT gen_random_uuid(), $2, $3, $4, CASE WHEN $25 THEN 'unread' ELSE 'gap' END::analytics.batch_kind, $5, $24, 0, 0, 0, 0, 0, 0, 0, 0, $17, clock_timestamp()
    WHERE $24 IS NOT NULL
    RETURNING batch_id, kind
),
unread AS (
    INSERT INTO analytics.unread_ranges
           (batch_id, stream, incarnation, partition, first_offset, next_offset, reason, detail, complete_to)
    SELECT batch_id, $2, $3, $4, $5, $24, 'left_out', $26,
           -- What lies ahead of the clock proves nothing.
           coalesce(CASE WHEN $27 <= clock_timestamp() THEN $27 END, (
               SELECT CASE WHEN watermark <= clock_timestamp() THEN watermark END
               FROM analytics.partition_watermarks WHERE stream = $2 AND partition = $4))
    FROM missing WHERE kind = 'unread'
),
ledger AS (
    INSERT INTO analytics.ingestion_batches
           (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates,
            conflicts, rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
    VALUES ($1, $2, $3, $4, 'live', coalesce($24, $5), $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
            clock_timestamp())
    RETURNING completed_at
),
pending AS (
    INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates, traceparent, attributed)
    SELECT $1, $2, $4, $6, completed_at, $18, $19, $21 FROM ledger
),
attribution AS (
    INSERT INTO analytics.attribution_pending (batch_id, stream, partition, committed_at, partials)
    SELECT $1, $2, $4, completed_at, $20 FROM ledger WHERE $20 IS NOT NULL
)
UPDATE analytics.partition_offsets SET next_offset = $6, last_message_hash = $22
FROM ledger
WHERE stream = $2 AND partition = $4 AND epoch = $23 AND partition_offsets.next_offset = $5
RETURNING ledger.completed_at
