-- Notes the duplicates of a batch in their orgs' slots.
-- $1 org, $2 slot, $3 event, $4 moment, $5 whether a copy differed, $6 number of copies, of each; one for each slot
-- $7 the dedupe window
INSERT INTO analytics.duplicates AS d (org_id, slot, event_id, occurred_at, conflict, copies, first_at, last_at)
SELECT n.*, clock_timestamp(), clock_timestamp()
FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::timestamptz[], $5::boolean[], $6::bigint[])
     AS n (org_id, slot, event_id, occurred_at, conflict, copies)
-- Batches of several partitions meet only on misrouted events, and the order keeps them from waiting in a circle.
ORDER BY n.org_id, n.slot
ON CONFLICT (org_id, slot) DO UPDATE SET
    event_id = excluded.event_id,
    occurred_at = CASE WHEN d.event_id = excluded.event_id AND d.conflict AND NOT excluded.conflict THEN d.occurred_at
                       ELSE excluded.occurred_at END,
    conflict = excluded.conflict OR (d.event_id = excluded.event_id AND d.conflict),
    copies = excluded.copies + CASE WHEN d.event_id = excluded.event_id THEN d.copies ELSE 0 END,
    first_at = CASE WHEN d.event_id = excluded.event_id THEN d.first_at ELSE excluded.first_at END,
    last_at = excluded.last_at
-- A plain resend does not take the slot of another event's conflict while that may still be queried.
WHERE d.event_id = excluded.event_id OR excluded.conflict OR NOT d.conflict OR d.last_at < clock_timestamp() - $7::interval
