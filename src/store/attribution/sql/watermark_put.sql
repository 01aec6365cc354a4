-- Notes up to where a partition is folded. $1 stream, $2 partition, $3 its watermark when folding began
INSERT INTO analytics.attribution_watermarks (stream, partition, watermark, folded_at)
VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (stream, partition) DO UPDATE SET watermark = excluded.watermark, folded_at = excluded.folded_at
