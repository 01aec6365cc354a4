-- A value of an enum type cannot be taken away again; no row needs 'gap' any more.
ALTER TABLE analytics.dead_letters
    DROP COLUMN dead_letter_id,
    DROP COLUMN correction, DROP COLUMN corrected_by, DROP COLUMN corrected_at, DROP COLUMN replayed_at,
    ADD COLUMN dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
DROP INDEX IF EXISTS analytics.dead_letters_org;
CREATE INDEX dead_letters_org ON analytics.dead_letters (org_id, rejected_at);
DROP TABLE analytics.replays, analytics.supervision_events;
DELETE FROM analytics.ingestion_batches WHERE kind = 'gap';
DROP INDEX analytics.ingestion_batches_chain;
CREATE UNIQUE INDEX ingestion_batches_chain ON analytics.ingestion_batches (stream, incarnation, partition, first_offset) WHERE kind = 'live';
ALTER TABLE analytics.partition_offsets DROP COLUMN owner, ADD COLUMN owner text;
DROP TABLE analytics.processes;
