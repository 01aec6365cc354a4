-- How complete an export is, and which changes of final buckets it has in it: the first statement of its snapshot.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 stream, $6 the org's partition
SELECT statement_timestamp() AS snapshot_at,
       analytics.org_watermark($1, $5, $6) AS as_of,
       count(*) AS revisions,
       (array_agg(revision_id ORDER BY revision_id DESC))[1] AS last_revision_id
FROM analytics.rollup_revisions
WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
  AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
