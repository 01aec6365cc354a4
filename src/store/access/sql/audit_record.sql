-- Records audit events. One whose row is there already was recorded by an attempt whose response was lost.
-- Of each $1 id, $2 how long ago it happened, in milliseconds: the database's clock judges, whatever this process's says; $3 subject,
-- $4 credential, $5 roles, separated by commas, since an array of arrays does not unnest into arrays; $6 action, $7 org, $8 target,
-- $9 outcome, $10 request, $11 address, $12 detail, $13 of how many it is the last, $14 how long ago the first of them was (null where
-- it is the only one)
INSERT INTO analytics.audit_events
       (event_id, occurred_at, subject, credential, roles, action, org_id, target, outcome, request_id, address, detail,
        event_count, first_at)
SELECT event_id, clock_timestamp() - age_ms * interval '1 millisecond', subject, credential,
       coalesce(string_to_array(nullif(roles, ''), ','), '{}'), action, org_id, target, outcome, request_id, address, detail,
       event_count, clock_timestamp() - first_age_ms * interval '1 millisecond'
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[])
     AS new (event_id, age_ms, subject, credential, roles, action, org_id, target, outcome, request_id, address, detail,
             event_count, first_age_ms)
ON CONFLICT (event_id) DO NOTHING
