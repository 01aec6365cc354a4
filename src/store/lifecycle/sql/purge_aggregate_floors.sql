-- Raises the floors of the orgs whose rollups are in chunks that are about to be dropped, in the same transaction.
-- $1 where the last of the chunks ends
INSERT INTO analytics.retention_floors AS f (org_id, kind, floor_at)
SELECT DISTINCT org_id, '{kind}', $1::timestamptz FROM {table} WHERE bucket_start < $1
ON CONFLICT (org_id, kind) DO UPDATE SET floor_at = excluded.floor_at WHERE f.floor_at < excluded.floor_at
