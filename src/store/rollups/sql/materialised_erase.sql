-- Deletes what is materialised of an org. How many rows readers saw: from the cut on, a row is not read yet, and the table has it.
-- $1 org
WITH gone AS (DELETE FROM analytics.{unit}_materialised WHERE org_id = $1 RETURNING bucket_start)
SELECT count(*) FROM gone WHERE bucket_start < analytics.materialised_cut('{unit}')
