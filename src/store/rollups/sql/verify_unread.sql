-- Ranges that were not read and that no operator has acknowledged, of whatever time. $1 most rows
SELECT stream, partition, incarnation, first_offset, next_offset, noted_at, count(*) OVER () AS differing
FROM analytics.unread_ranges
WHERE acknowledged_at IS NULL
ORDER BY stream, incarnation, first_offset
LIMIT $1
