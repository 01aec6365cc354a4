-- Hours of an org over all models, for queries without models: one row in place of one for each model. They are summed
-- from the rollups when hours are over, and are exact at any moment: what changes a rollup marks the hour in the same transaction,
-- and what is marked is read from the rollups. By triggers, so that it holds for the changes of builds that do not know it.
-- The functions that each response calls are planned once a session. Takes milliseconds.
SELECT analytics.works_with_builds_from(20261129000119, this_migration => 20261129000121);

CREATE TABLE analytics.org_hours (
    org_id        uuid NOT NULL,
    bucket_start  timestamptz NOT NULL,
    changed       boolean NOT NULL,
    successes     bigint,
    errors        bigint,
    timeouts      bigint,
    throttled     bigint,
    input_tokens  bigint,
    output_tokens bigint,
    cost_cents    numeric,
    latency_histogram bytea,
    PRIMARY KEY (org_id, bucket_start),
    CHECK (changed OR num_nulls(successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, latency_histogram) = 0)
) WITH (fillfactor = 80);
COMMENT ON TABLE analytics.org_hours IS 'sums of hourly_usage over all models; an hour that is not there, of those that are summed, has none';
COMMENT ON COLUMN analytics.org_hours.changed IS 'whether a rollup of the hour has changed since: it is read from the rollups until it is summed again';
CREATE INDEX org_hours_changed ON analytics.org_hours (org_id, bucket_start) WHERE changed;

CREATE TABLE analytics.org_hours_summed (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    summed_from timestamptz NOT NULL,
    summed_to   timestamptz NOT NULL,
    CHECK (summed_from <= summed_to)
);
COMMENT ON TABLE analytics.org_hours_summed IS 'the hours that org_hours has';
INSERT INTO analytics.org_hours_summed (summed_from, summed_to) VALUES ('1970-01-01+00', '1970-01-01+00');

-- Marks the hours of changed rollups. Merges of one org wait for each other, so two never mark the same hours in another order.
CREATE FUNCTION analytics.mark_org_hours() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    -- Rows that only move between a table and what is materialised.
    IF current_setting('analytics.moves_rollups', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO analytics.org_hours (org_id, bucket_start, changed)
    SELECT DISTINCT c.org_id, c.bucket_start, true
    FROM changed_rows c JOIN analytics.org_hours_summed s ON c.bucket_start >= s.summed_from AND c.bucket_start < s.summed_to
    ORDER BY 1, 2
    ON CONFLICT (org_id, bucket_start) DO UPDATE SET changed = true WHERE NOT org_hours.changed;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_inserted AFTER INSERT ON analytics.hourly_rollups
    REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_org_hours();
CREATE TRIGGER mark_updated AFTER UPDATE ON analytics.hourly_rollups
    REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_org_hours();
CREATE TRIGGER mark_deleted AFTER DELETE ON analytics.hourly_rollups
    REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION analytics.mark_org_hours();

-- As they were, and they say that rows only move.
CREATE OR REPLACE FUNCTION analytics.release_rollups(unit text, starts timestamptz, ends timestamptz, org uuid, since timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    released bigint;
BEGIN
    PERFORM set_config('analytics.moves_rollups', 'on', true);
    EXECUTE format(
        'DELETE FROM analytics.%1$s_rollups r USING analytics.%1$s_materialised m
         WHERE r.bucket_start >= $1 AND r.bucket_start < $2 AND m.bucket_start >= $1 AND m.bucket_start < $2
           AND ($3 IS NULL OR r.org_id = $3 AND m.org_id = $3)
           AND m.org_id = r.org_id AND m.bucket_start = r.bucket_start AND m.model_id = r.model_id
           AND r.fresh_as_of < $4
           AND (r.successes, r.errors, r.timeouts, r.throttled, r.input_tokens, r.output_tokens, r.cost_cents, r.latency_sum,
                r.latency_min, r.latency_max, r.last_event_at)
             = (m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens, m.cost_cents, m.latency_sum,
                m.latency_min, m.latency_max, m.last_event_at)
           AND ($5 OR NOT EXISTS (
               SELECT FROM analytics.hourly_rollups h
               WHERE h.org_id = r.org_id AND h.model_id = r.model_id
                 AND h.bucket_start >= r.bucket_start AND h.bucket_start < r.bucket_start + INTERVAL ''24 hours''))', unit)
    USING starts, ends, org, since, unit = 'hourly';
    GET DIAGNOSTICS released = ROW_COUNT;
    PERFORM set_config('analytics.moves_rollups', 'off', true);
    RETURN released;
END $$;
CREATE OR REPLACE FUNCTION analytics.recall_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    recalled bigint;
BEGIN
    PERFORM set_config('analytics.moves_rollups', 'on', true);
    EXECUTE format(
        'INSERT INTO analytics.%1$s_rollups
         SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
                latency_sum, latency_min, latency_max, analytics.pack_histogram(substring(latency_histogram FROM 2)),
                last_event_at, fresh_as_of
         FROM analytics.%1$s_materialised m
         WHERE m.bucket_start >= $1
           AND m.bucket_start < least($2, analytics.materialised_cut(''%1$s''))
           AND ($3 IS NULL OR m.org_id = $3)
         ORDER BY org_id, bucket_start, model_id
         ON CONFLICT DO NOTHING', unit)
    USING starts, ends, org;
    GET DIAGNOSTICS recalled = ROW_COUNT;
    PERFORM set_config('analytics.moves_rollups', 'off', true);
    RETURN recalled;
END $$;

-- An org that is erased has none: what is left of it is refused by readers from this moment on. Without rollups nobody has any.
CREATE FUNCTION analytics.forget_org_hours() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE analytics.org_hours_summed SET summed_to = summed_from;
        DELETE FROM analytics.org_hours;
        RETURN NULL;
    END IF;
    DELETE FROM analytics.org_hours WHERE org_id = NEW.org_id;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_org_hours AFTER INSERT OR UPDATE ON analytics.erasures
    FOR EACH ROW EXECUTE FUNCTION analytics.forget_org_hours();
CREATE TRIGGER forget_org_hours AFTER TRUNCATE ON analytics.hourly_rollups
    FOR EACH STATEMENT EXECUTE FUNCTION analytics.forget_org_hours();

-- As they were. A function in SQL is planned at each call, which took longer than all the rest of a small query.
CREATE OR REPLACE FUNCTION analytics.org_watermark(org uuid, home_stream text, home_partition integer) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN (
        SELECT CASE WHEN count(*) = count(watermark) THEN min(watermark) END
        FROM (
            SELECT home_stream AS stream, home_partition AS partition
            UNION
            SELECT stream, partition FROM analytics.misrouted_lately WHERE org_id = org AND home = home_stream
        ) AS concerned
        LEFT JOIN analytics.known_watermarks USING (stream, partition));
END $$;
CREATE OR REPLACE FUNCTION analytics.floor_of(org uuid, of_kind text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN greatest(
        (SELECT f.floor_at FROM analytics.retention_floors f WHERE f.org_id = org AND f.kind = of_kind),
        (SELECT coalesce(e.floor_at, e.erased_at) FROM analytics.erasures e WHERE e.org_id = org AND of_kind <> 'ledger'),
        (SELECT max(h.raw_from) FROM analytics.raw_horizons h WHERE (h.org_id = org OR h.org_id IS NULL) AND of_kind = 'raw'));
END $$;
