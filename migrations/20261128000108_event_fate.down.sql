DROP TABLE analytics.duplicates;
DROP INDEX IF EXISTS analytics.dead_letters_event;
ALTER TABLE analytics.dead_letters DROP COLUMN event_id;
