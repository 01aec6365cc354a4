DROP TRIGGER forget_attribution ON analytics.erasures;
DROP FUNCTION analytics.forget_attribution();
DROP FUNCTION analytics.attribution_floor(uuid, integer);
DROP FUNCTION analytics.attribution_watermark(uuid, integer, text, integer);
DROP TRIGGER note_unattributed ON analytics.rollup_pending;
DROP FUNCTION analytics.note_unattributed();
ALTER TABLE analytics.rollup_pending DROP COLUMN attributed;
DELETE FROM analytics.retention_floors WHERE kind = 'attribution';
ALTER TABLE analytics.retention_floors DROP CONSTRAINT retention_floors_kind_check;
ALTER TABLE analytics.retention_floors ADD CONSTRAINT retention_floors_kind_check
    CHECK (kind IN ('hourly', 'daily', 'revisions', 'ledger'));
DROP TABLE analytics.attribution_floors, analytics.attribution_recounts, analytics.attribution_watermarks, analytics.attribution_keys,
    analytics.attribution_parts, analytics.attribution_dictionaries, analytics.attribution_values, analytics.attribution_unattributed,
    analytics.attribution_pending, analytics.attribution_sets;
DROP TYPE analytics.attribution_unit;
DELETE FROM analytics.schema_compatibility WHERE migration = 20261130000122;
