-- Records events of the supervision log. An event whose row is there already was recorded by an attempt whose answer
-- was lost.
INSERT INTO analytics.supervision_events
       (event_id, occurred_at, process, actor, generation, what, cause, next_attempt_at, by_whom)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::text[])
ON CONFLICT (event_id) DO NOTHING
