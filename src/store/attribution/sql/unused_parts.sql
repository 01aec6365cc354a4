-- The parts that together have all ids of values that any part of an org and a set has: days, hours that no day has, and months. These do not
-- stand for their days: where history begins within a month, the month may have nothing but what came late. $1 org, $2 set
SELECT p.bucket_start, p.packed
FROM analytics.attribution_parts AS p
WHERE p.org_id = $1 AND p.set_id = $2
  AND NOT (p.unit = 'hour' AND EXISTS (
      SELECT FROM analytics.attribution_parts AS l
      WHERE l.org_id = $1 AND l.set_id = $2 AND l.unit = 'day' AND l.bucket_start = date_trunc('day', p.bucket_start, 'UTC')))
