-- Keeps rejected messages. The same message can be rejected twice only if its batch was lost in between: first one wins.
-- $1 stream, $2 incarnation, $3 partition, $4 batch; of each letter $5 offset, $6 org, $7 reasons as JSON, $8 payload as far as it is
-- kept, $9 its bytes, $10 its hash, $11 id, $12 event
INSERT INTO analytics.dead_letters
       (dead_letter_id, stream, incarnation, partition, batch_id, stream_offset, org_id, reasons, payload, payload_bytes, payload_sha256,
        event_id, rejected_at)
SELECT d.dead_letter_id, $1, $2, $3, $4, d.stream_offset, d.org_id,
       ARRAY(SELECT reason FROM jsonb_array_elements_text(d.reasons::jsonb) WITH ORDINALITY AS r (reason, n) ORDER BY n),
       d.payload, d.payload_bytes, d.payload_sha256, d.event_id, clock_timestamp()
FROM unnest($5::bigint[], $6::uuid[], $7::text[], $8::bytea[], $9::bigint[], $10::bytea[], $11::uuid[],
            $12::uuid[])
     AS d (stream_offset, org_id, reasons, payload, payload_bytes, payload_sha256, dead_letter_id, event_id)
ON CONFLICT (stream, incarnation, partition, stream_offset) DO NOTHING
