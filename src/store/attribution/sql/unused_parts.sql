-- The parts that together have all ids of values that any part of an org and a set has: months, days that no month has, and hours that
-- no day has. $1 org, $2 set
SELECT p.bucket_start, p.packed
FROM analytics.attribution_parts AS p
WHERE p.org_id = $1 AND p.set_id = $2
  AND NOT EXISTS (
      SELECT FROM analytics.attribution_parts AS l
      WHERE l.org_id = $1 AND l.set_id = $2
        AND (p.unit = 'day' AND l.unit = 'month' AND l.bucket_start = date_trunc('month', p.bucket_start, 'UTC')
             OR p.unit = 'hour' AND l.unit = 'day' AND l.bucket_start = date_trunc('day', p.bucket_start, 'UTC')))
