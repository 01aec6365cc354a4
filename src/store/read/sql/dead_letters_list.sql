-- A page of dead letters, newest first. {whose} and {order} are put in by the code: an org's and those without an org
-- are each a range of one index, read from its end, and only the order that names both columns says so for both.
-- $1 org, $2 rejected from, $3 rejected before, $4 state (each may be null: all), $5 before this one, $6 most rows,
-- $7 event, $8 a part of one of its reasons (both may be null: all)
SELECT dead_letter_id, org_id, stream, partition, stream_offset, rejected_at, reasons, payload_bytes, payload_sha256,
       corrected_by, corrected_at, replayed_at
FROM analytics.dead_letters
WHERE {whose}
  AND ($2::timestamptz IS NULL OR rejected_at >= $2)
  AND ($3::timestamptz IS NULL OR rejected_at < $3)
  AND ($4::text IS NULL OR $4 = CASE WHEN replayed_at IS NOT NULL THEN 'replayed'
                                     WHEN correction IS NOT NULL THEN 'corrected'
                                     ELSE 'open' END)
  AND ($5::uuid IS NULL OR dead_letter_id < $5)
  AND ($7::uuid IS NULL OR event_id = $7)
  AND ($8::text IS NULL OR EXISTS (SELECT FROM unnest(reasons) AS reason WHERE strpos(reason, $8) > 0))
ORDER BY {order}
LIMIT $6
