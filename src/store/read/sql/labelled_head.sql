-- What a query by {column} reads from where: which hours are summed, which of these have to be read from raw events all the same, and
-- which batches readers do not see yet.
-- The head of a report is put in by the code.
-- $1 org, $2 start, $3 end, $4 models, $6 stream, $7 the org's partition
WITH head AS (
    {head}
)
SELECT head.*,
       ARRAY[s.summed_from, s.summed_to] AS hours_summed,
       -- Where raw events or rollups of a part of a day are purged, an erasure of a person changes no rollup of that day: a build before
       -- 20261130000124 marks nothing then.
       analytics.floor_of($1, 'hourly') AS hourly_from,
       analytics.floor_of($1, 'daily') AS daily_from,
       ARRAY(SELECT bucket_start FROM analytics.org_hours_by
             WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3 AND bucket_start < s.summed_to AND {column} IS NULL
             ORDER BY 1) AS not_summed,
       ARRAY(SELECT batch_id FROM analytics.rollup_pending) AS pending
FROM head, analytics.org_hours_by_summed s
