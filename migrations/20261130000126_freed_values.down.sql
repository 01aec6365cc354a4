ALTER TABLE analytics.attribution_dictionaries DROP COLUMN freed;
