-- A page of the supervision log, newest first: keys are in the order of time.
-- $1 actor, $2 older than this one, $3 newer than this one (each may be null), $4 most rows
SELECT event_id, occurred_at, process, actor, generation, what, cause, next_attempt_at, by_whom
FROM analytics.supervision_events
WHERE ($1::text IS NULL OR actor = $1)
  AND ($2::uuid IS NULL OR event_id < $2)
  AND ($3::uuid IS NULL OR event_id > $3)
ORDER BY event_id DESC
LIMIT $4
