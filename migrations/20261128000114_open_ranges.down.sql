CREATE INDEX unread_ranges_open ON analytics.unread_ranges (stream, partition) WHERE acknowledged_at IS NULL;
DROP INDEX analytics.unread_ranges_complete, analytics.unread_ranges_noted;
