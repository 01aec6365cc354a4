-- The watermarks of these streams, and up to where responses may have called their orgs complete. Locked in the
-- order of the streams: what a merge adds to an hour must be a revision also where another partition's watermark passes the
-- hour meanwhile.
-- $1 streams, $2 stream that they are partitions of
WITH locked AS (
    SELECT stream, CASE WHEN watermark <= clock_timestamp() THEN watermark END AS watermark,
           greatest(watermark, told_to) AS told_to
    FROM analytics.partition_watermarks
    WHERE stream = ANY ($1)
    ORDER BY stream
    FOR NO KEY UPDATE
)
SELECT s.stream, l.watermark,
       greatest(l.told_to, (SELECT told_to FROM analytics.stream_layouts WHERE stream = $2)) AS told_to
FROM unnest($1) AS s (stream) LEFT JOIN locked l USING (stream)
