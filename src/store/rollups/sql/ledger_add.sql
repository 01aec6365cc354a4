-- Adds what a merge has of the ledger's hours.
-- $1 orgs, $2 hours, $3 received, $4 stored, $5 duplicates, $6 conflicts, $7 rejected, $8 late
INSERT INTO analytics.ledger_hourly AS l (org_id, hour, received, stored, duplicates, conflicts, rejected, late)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::bigint[], $8::bigint[])
ON CONFLICT ON CONSTRAINT ledger_hourly_key DO UPDATE SET
    received = l.received + excluded.received,
    stored = l.stored + excluded.stored,
    duplicates = l.duplicates + excluded.duplicates,
    conflicts = l.conflicts + excluded.conflicts,
    rejected = l.rejected + excluded.rejected,
    late = l.late + excluded.late
