-- Outcomes and latencies of an org's hours by client and by error code, for queries that raw events alone could serve. They are
-- counted from raw events when hours are over, and are exact at any moment: what changes which raw events a reader sees marks the
-- hour in the same transaction, and what is marked is read from raw events. By triggers, so that it holds for the changes of builds
-- that do not know it. Takes milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261130000124);

CREATE TABLE analytics.org_hours_by (
    org_id       uuid NOT NULL,
    bucket_start timestamptz NOT NULL,
    changed      boolean NOT NULL,
    claimed      boolean NOT NULL DEFAULT false,
    clients      bytea,
    error_codes  bytea,
    PRIMARY KEY (org_id, bucket_start),
    CHECK (NOT changed OR num_nonnulls(clients, error_codes) = 0),
    CHECK (changed OR NOT claimed)
) WITH (fillfactor = 80);
COMMENT ON TABLE analytics.org_hours_by IS 'what raw events of an hour make by client and by error code; an hour that is not there, of those that are summed, has none';
COMMENT ON COLUMN analytics.org_hours_by.changed IS 'whether raw events of the hour have changed since: they are read until they are summed again';
COMMENT ON COLUMN analytics.org_hours_by.claimed IS 'whether a run is summing it again; a change since then takes that back';
COMMENT ON COLUMN analytics.org_hours_by.clients IS 'null: read from raw events, since it changed or has too many clients';
COMMENT ON COLUMN analytics.org_hours_by.error_codes IS 'null: read from raw events, since it changed or has too many codes';
CREATE INDEX org_hours_by_bucket ON analytics.org_hours_by (bucket_start);

CREATE TABLE analytics.org_hours_by_summed (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    summed_from timestamptz NOT NULL,
    summed_to   timestamptz NOT NULL,
    marked_to   timestamptz NOT NULL,
    run         uuid,
    CHECK (summed_from <= summed_to AND summed_to <= marked_to)
);
COMMENT ON TABLE analytics.org_hours_by_summed IS 'the hours that org_hours_by has';
COMMENT ON COLUMN analytics.org_hours_by_summed.marked_to IS 'up to where changes are marked: hours from summed_to on are being summed';
COMMENT ON COLUMN analytics.org_hours_by_summed.run IS 'whose sums are written: those of an earlier run, or of before a repair or an erasure, are not';
INSERT INTO analytics.org_hours_by_summed (summed_from, summed_to, marked_to)
VALUES ('1970-01-01+00', '1970-01-01+00', '1970-01-01+00');

-- Marks the hours of changed rollups: a merge adds to these in the transaction in which readers begin to see the raw events, and an
-- erasure counts them again. Sums are written while no merge is under way, so none waits for a row of this table.
CREATE FUNCTION analytics.mark_hours_by() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    -- Rows that only move between a table and what is materialised.
    IF current_setting('analytics.moves_rollups', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO analytics.org_hours_by AS o (org_id, bucket_start, changed)
    SELECT DISTINCT c.org_id, c.bucket_start, true
    FROM changed_rows c JOIN analytics.org_hours_by_summed s ON c.bucket_start >= s.summed_from AND c.bucket_start < s.marked_to
    ORDER BY 1, 2
    ON CONFLICT (org_id, bucket_start) DO UPDATE SET changed = true, claimed = false, clients = NULL, error_codes = NULL
    WHERE NOT o.changed OR o.claimed;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_by_inserted AFTER INSERT ON analytics.hourly_rollups
    REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_hours_by();
CREATE TRIGGER mark_by_updated AFTER UPDATE ON analytics.hourly_rollups
    REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_hours_by();
CREATE TRIGGER mark_by_deleted AFTER DELETE ON analytics.hourly_rollups
    REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_hours_by();

-- Has all that is summed of some hours, over models and by client and error code, read from what it is summed from, until it is
-- summed again: of one org, or of all (null). The end is exclusive. For rebuilds and erasures of a person: also where rollups stay as
-- they are, as those of a day do whose raw events were purged in part. While no merge is under way.
CREATE FUNCTION analytics.mark_hours(starts timestamptz, ends timestamptz, org uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE analytics.org_hours o SET changed = true
    WHERE (org IS NULL OR o.org_id = org) AND o.bucket_start >= starts AND o.bucket_start < ends AND NOT o.changed;
    INSERT INTO analytics.org_hours (org_id, bucket_start, changed)
    SELECT DISTINCT u.org_id, u.bucket_start, true
    FROM analytics.hourly_usage u JOIN analytics.org_hours_summed s ON u.bucket_start >= s.summed_from AND u.bucket_start < s.summed_to
    WHERE (org IS NULL OR u.org_id = org) AND u.bucket_start >= starts AND u.bucket_start < ends
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    -- What a run has counted and not written yet may have what is gone.
    UPDATE analytics.org_hours_by_summed SET run = NULL WHERE run IS NOT NULL;
    UPDATE analytics.org_hours_by o SET changed = true, claimed = false, clients = NULL, error_codes = NULL
    WHERE (org IS NULL OR o.org_id = org) AND o.bucket_start >= starts AND o.bucket_start < ends AND (NOT o.changed OR o.claimed);
    INSERT INTO analytics.org_hours_by (org_id, bucket_start, changed)
    SELECT DISTINCT u.org_id, u.bucket_start, true
    FROM analytics.hourly_usage u JOIN analytics.org_hours_by_summed s ON u.bucket_start >= s.summed_from AND u.bucket_start < s.summed_to
    WHERE (org IS NULL OR u.org_id = org) AND u.bucket_start >= starts AND u.bucket_start < ends
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
END $$;

-- A repair puts raw events back that rollups have: readers see them at once, and nothing else says which orgs they are of.
CREATE FUNCTION analytics.reopen_hours_by() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    -- Before its moment is compared: a run that is just beginning counts what this transaction stores, or is seen by it.
    PERFORM FROM analytics.org_hours_by_summed FOR UPDATE;
    UPDATE analytics.org_hours_by_summed SET
        summed_to = greatest(summed_from, least(summed_to, date_trunc('hour', NEW.occurred_from, 'UTC'))),
        marked_to = greatest(summed_from, least(marked_to, date_trunc('hour', NEW.occurred_from, 'UTC'))),
        run = NULL
    WHERE NEW.occurred_from < marked_to AND NEW.occurred_to >= summed_from;
    RETURN NULL;
END $$;
CREATE TRIGGER reopen_hours_by AFTER INSERT ON analytics.ingestion_batches
    FOR EACH ROW WHEN (NEW.kind = 'repair') EXECUTE FUNCTION analytics.reopen_hours_by();

-- What is purged or erased is refused by readers from this moment on; no name stays here longer than its raw events.
CREATE FUNCTION analytics.forget_hours_by() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_TABLE_NAME = 'erasures' THEN
        UPDATE analytics.org_hours_by_summed SET run = NULL WHERE run IS NOT NULL;
        DELETE FROM analytics.org_hours_by WHERE org_id = NEW.org_id;
    ELSE
        DELETE FROM analytics.org_hours_by
        WHERE (NEW.org_id IS NULL OR org_id = NEW.org_id) AND bucket_start < NEW.raw_from;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_hours_by AFTER INSERT OR UPDATE ON analytics.erasures
    FOR EACH ROW EXECUTE FUNCTION analytics.forget_hours_by();
CREATE TRIGGER forget_hours_by AFTER INSERT OR UPDATE ON analytics.raw_horizons
    FOR EACH ROW EXECUTE FUNCTION analytics.forget_hours_by();
