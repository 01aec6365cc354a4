-- A page of freshness markers in the order of their keys.
-- $1, $2: org and model behind which it begins; $3: whether they belong to it; $4: the last org; $5: only those that were
-- merged then or later, all without it; $6: most rows.
SELECT org_id, model_id, last_event_at, last_rollup_at
FROM analytics.freshness_status
WHERE ((org_id, model_id) > ($1, $2) OR $3 AND (org_id, model_id) = ($1, $2))
  AND org_id <= $4
  AND last_rollup_at >= coalesce($5, '-infinity')
ORDER BY org_id, model_id
LIMIT $6
