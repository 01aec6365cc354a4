-- Ranges of a stream that no AMQP consumer can read: what the broker cannot translate and an operator passed over, and what
-- it leaves out without a word. Only adds: a build of before works on beside it.

ALTER TYPE analytics.batch_kind ADD VALUE IF NOT EXISTS 'unread';
COMMENT ON TABLE analytics.ingestion_batches IS
    'rows of kind live, gap, unread and fold of one (stream, incarnation, partition) form a chain: each starts where the last ended';

-- One row for each row of the ledger of kind unread.
CREATE TABLE analytics.unread_ranges (
    batch_id        uuid PRIMARY KEY,
    stream          text NOT NULL,
    incarnation     integer NOT NULL,
    partition       integer NOT NULL,
    first_offset    bigint NOT NULL,
    next_offset     bigint NOT NULL,
    reason          text NOT NULL CHECK (reason IN ('left_out', 'skipped')),
    detail          text NOT NULL,
    complete_to     timestamptz,
    noted_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    CHECK (first_offset < next_offset),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CHECK (reason <> 'skipped' OR acknowledged_at IS NOT NULL)
);
COMMENT ON COLUMN analytics.unread_ranges.batch_id IS 'the row of the ledger';
COMMENT ON COLUMN analytics.unread_ranges.reason IS
    'left_out: the broker delivered nothing of it; skipped: an operator passed over what the broker fails at';
COMMENT ON COLUMN analytics.unread_ranges.complete_to IS
    'publish time of the message before it: up to then the partition was read without a hole';
CREATE INDEX unread_ranges_open ON analytics.unread_ranges (stream, partition) WHERE acknowledged_at IS NULL;

-- Up to when a partition's events are in the rollups, and nothing before is missing without an operator knowing of it.
CREATE VIEW analytics.partition_completeness AS
SELECT w.stream, w.partition, least(w.watermark, u.complete_to) AS watermark
FROM analytics.partition_watermarks w
     LEFT JOIN LATERAL (
         SELECT min(coalesce(complete_to, 'epoch')) AS complete_to FROM analytics.unread_ranges u
         WHERE u.stream = w.stream AND u.partition = w.partition AND u.acknowledged_at IS NULL) u ON true;

-- As before, of what is complete.
CREATE OR REPLACE VIEW analytics.known_watermarks AS
SELECT stream, partition, CASE WHEN watermark <= clock_timestamp() THEN watermark END AS watermark
FROM analytics.partition_completeness;
