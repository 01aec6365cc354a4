-- Deletes some thousand parts of a set. $1 set
DELETE FROM analytics.attribution_parts
WHERE ctid = ANY (ARRAY(SELECT ctid FROM analytics.attribution_parts WHERE set_id = $1 LIMIT 5000))
