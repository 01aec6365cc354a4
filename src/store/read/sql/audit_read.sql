-- A page of the audit log, newest first: keys are in the order of time.
-- $1 org, $2 subject, $3 action, $4 outcome, $5 from, $6 before (each may be null: all), $7 older than this one, $8 most rows
SELECT event_id, occurred_at, subject, credential, roles, action, org_id, target, outcome, request_id, address, detail,
       event_count, first_at
FROM analytics.audit_events
WHERE ($1::uuid IS NULL OR org_id = $1)
  AND ($2::text IS NULL OR subject = $2)
  AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR outcome = $4)
  AND ($5::timestamptz IS NULL OR occurred_at >= $5)
  AND ($6::timestamptz IS NULL OR occurred_at < $6)
  AND ($7::uuid IS NULL OR event_id < $7)
ORDER BY event_id DESC
LIMIT $8
