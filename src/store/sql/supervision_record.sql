-- Records events of the supervision log. An event whose row is there already was recorded by an attempt whose response
-- was lost.
-- Of each $1 id, $2 moment, $3 process, $4 actor, $5 generation, $6 what happened, $7 cause, $8 next attempt, $9 who did it
INSERT INTO analytics.supervision_events
       (event_id, occurred_at, process, actor, generation, what, cause, next_attempt_at, by_whom)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::text[])
ON CONFLICT (event_id) DO NOTHING
