-- Answers below the floors are given again, with what is left.
DROP FUNCTION analytics.floor_of;
ALTER TABLE analytics.erasures DROP COLUMN floor_at;
DROP TABLE analytics.retention_floors;
