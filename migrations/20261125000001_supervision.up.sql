-- Leases, the supervision log, gaps of a stream, replays, and corrections of dead letters.

-- A process that works on partitions. It lives while its row has not expired and its session holds the advisory lock
-- (PROCESS_LOCK, lock_no): a killed one loses the lock at once, a frozen one expires.
CREATE TABLE analytics.processes (
    process_id uuid PRIMARY KEY,
    lock_no    integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    stream     text NOT NULL,
    name       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
COMMENT ON COLUMN analytics.processes.stream IS 'whose partitions it shares: those of other streams are none of its business';
COMMENT ON COLUMN analytics.processes.name IS 'host/pid, for operators';

-- The owner is a process now. Its lease is in processes: renewing one must not wait for a batch transaction, which has
-- the partition's row locked.
ALTER TABLE analytics.partition_offsets DROP COLUMN owner, ADD COLUMN owner uuid;
COMMENT ON COLUMN analytics.partition_offsets.owner IS 'process that holds the partition while it lives; null: nobody';
COMMENT ON COLUMN analytics.partition_offsets.epoch IS 'rises with each taking, start and reset; a batch of an older one cannot be committed';

-- Offsets that were never read: the stream dropped them first, or an operator skipped them. Part of the chain.
ALTER TYPE analytics.batch_kind ADD VALUE IF NOT EXISTS 'gap';
DROP INDEX analytics.ingestion_batches_chain;
-- Named by what is left out: a value that this transaction added cannot be used in it.
CREATE UNIQUE INDEX ingestion_batches_chain ON analytics.ingestion_batches (stream, incarnation, partition, first_offset)
    WHERE kind NOT IN ('replay', 'repair');
COMMENT ON TABLE analytics.ingestion_batches IS
    'rows of kind live and gap of one (stream, incarnation, partition) form a chain: each starts where the last ended';

CREATE TABLE analytics.supervision_events (
    event_id        uuid PRIMARY KEY,
    occurred_at     timestamptz NOT NULL,
    process         text NOT NULL,
    actor           text NOT NULL,
    generation      bigint NOT NULL,
    what            text NOT NULL,
    cause           text,
    next_attempt_at timestamptz,
    by_whom         text
);
CREATE INDEX supervision_events_actor ON analytics.supervision_events (actor, event_id);
COMMENT ON COLUMN analytics.supervision_events.event_id IS 'version 7: in the order of time';
COMMENT ON COLUMN analytics.supervision_events.occurred_at IS 'by the process''s clock: it is recorded later when the database was away';

-- A range of a partition's stream to be read again by whoever holds the partition.
CREATE TABLE analytics.replays (
    replay_id    uuid PRIMARY KEY,
    stream       text NOT NULL,
    partition    integer NOT NULL,
    incarnation  integer NOT NULL,
    from_offset  bigint NOT NULL,
    to_offset    bigint NOT NULL,
    next_offset  bigint NOT NULL,
    received     bigint NOT NULL DEFAULT 0,
    stored       bigint NOT NULL DEFAULT 0,
    duplicates   bigint NOT NULL DEFAULT 0,
    rejected     bigint NOT NULL DEFAULT 0,
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'failed')),
    error        text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at timestamptz,
    CHECK (from_offset < to_offset),
    CHECK (received = stored + duplicates + rejected)
);
COMMENT ON COLUMN analytics.replays.to_offset IS 'exclusive';
CREATE INDEX replays_open ON analytics.replays (stream, requested_at) WHERE state = 'open';

-- Ids that tell nothing: numbers in a row would tell one org how much of the others' is rejected. Version 7 keeps them
-- in the order of time.
ALTER TABLE analytics.dead_letters DROP COLUMN dead_letter_id, ADD COLUMN dead_letter_id uuid;
UPDATE analytics.dead_letters SET dead_letter_id = (
    lpad(to_hex((extract(epoch FROM rejected_at) * 1000)::bigint), 12, '0') || '7'
    || substr(replace(gen_random_uuid()::text, '-', ''), 1, 3) || '8'
    || substr(replace(gen_random_uuid()::text, '-', ''), 17, 15))::uuid;
ALTER TABLE analytics.dead_letters ADD PRIMARY KEY (dead_letter_id);

-- A rejected message is corrected once, then published as a message of its own.
ALTER TABLE analytics.dead_letters
    ADD COLUMN correction   bytea,
    ADD COLUMN corrected_by text,
    ADD COLUMN corrected_at timestamptz,
    ADD COLUMN replayed_at  timestamptz,
    ADD CHECK ((correction IS NULL) = (corrected_at IS NULL)),
    ADD CHECK (replayed_at IS NULL OR correction IS NOT NULL);
COMMENT ON COLUMN analytics.dead_letters.correction IS 'the event that takes the message''s place: the first one given';
COMMENT ON COLUMN analytics.dead_letters.replayed_at IS 'when the broker confirmed the correction';
CREATE INDEX dead_letters_to_replay ON analytics.dead_letters (dead_letter_id) WHERE correction IS NOT NULL AND replayed_at IS NULL;
DROP INDEX analytics.dead_letters_org;
CREATE INDEX dead_letters_org ON analytics.dead_letters (org_id, dead_letter_id);
