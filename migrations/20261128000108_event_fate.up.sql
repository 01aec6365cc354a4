-- What became of one event: dead letters by the event's id, and the duplicates of an org. Only adds: a build of before works
-- on beside it.

ALTER TABLE analytics.dead_letters ADD COLUMN event_id uuid;
COMMENT ON COLUMN analytics.dead_letters.event_id IS 'only where the JSON is valid and has exactly one eventId, itself valid';

-- Those that are there already, as far as their first 64 KiB tell it.
CREATE FUNCTION analytics.event_id_of(payload bytea) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::json ->> 'eventId';
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
UPDATE analytics.dead_letters SET event_id = analytics.event_id_of(payload) WHERE org_id IS NOT NULL;
DROP FUNCTION analytics.event_id_of;

CREATE INDEX dead_letters_event ON analytics.dead_letters (org_id, event_id) WHERE event_id IS NOT NULL;

-- The latest duplicates of each org, in a fixed number of slots: an event's id says which one is its own.
CREATE TABLE analytics.duplicates (
    org_id      uuid NOT NULL,
    slot        smallint NOT NULL,
    event_id    uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    conflict    boolean NOT NULL,
    copies      bigint NOT NULL CHECK (copies > 0),
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE analytics.duplicates IS 'no complete record: the ledger counts all duplicates, this names the latest';
COMMENT ON COLUMN analytics.duplicates.occurred_at IS 'of the last copy; of the last that differed, where one did';
COMMENT ON COLUMN analytics.duplicates.conflict IS 'the content of a copy differed from what was stored first';
COMMENT ON COLUMN analytics.duplicates.first_at IS 'when the first of these copies was committed';
