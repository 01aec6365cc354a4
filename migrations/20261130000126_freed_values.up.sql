-- Names of attribution that nothing has any more are deleted: there is room for as many new ones, though ids are never given again.
-- Builds from before neither read nor write the column. Takes milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261130000126);

ALTER TABLE analytics.attribution_dictionaries ADD COLUMN freed integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN analytics.attribution_dictionaries.freed IS 'how many of the ids given before have no value any more';
