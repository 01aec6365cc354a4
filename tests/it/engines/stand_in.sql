-- Tables in the place of continuous aggregates, with chunks as theirs, and what fills them. The queries are those of the aggregates.
DROP TABLE IF EXISTS analytics.hourly_stand_in;
DROP TABLE IF EXISTS analytics.daily_stand_in;
CREATE TABLE analytics.hourly_stand_in AS SELECT {hours} LIMIT 0;
SELECT public.create_hypertable('analytics.hourly_stand_in', 'bucket_start', chunk_time_interval => INTERVAL '10 days',
                                create_default_indexes => false);
CREATE INDEX ON analytics.hourly_stand_in (org_id, bucket_start, model_id);
CREATE TABLE analytics.daily_stand_in AS SELECT {days} LIMIT 0;
SELECT public.create_hypertable('analytics.daily_stand_in', 'bucket_start', chunk_time_interval => INTERVAL '10 days',
                                create_default_indexes => false);
CREATE INDEX ON analytics.daily_stand_in (org_id, bucket_start, model_id);

CREATE OR REPLACE PROCEDURE analytics.materialise(unit text, starts timestamptz, ends timestamptz) LANGUAGE plpgsql AS $stand_in$
BEGIN
    IF unit = 'hourly' THEN
        DELETE FROM analytics.hourly_stand_in WHERE bucket_start >= starts AND bucket_start < ends;
        INSERT INTO analytics.hourly_stand_in
        SELECT * FROM (SELECT {hours}) AS h WHERE bucket_start >= starts AND bucket_start < ends;
    ELSE
        DELETE FROM analytics.daily_stand_in WHERE bucket_start >= starts AND bucket_start < ends;
        INSERT INTO analytics.daily_stand_in
        SELECT * FROM (SELECT {days}) AS d WHERE bucket_start >= starts AND bucket_start < ends;
    END IF;
    COMMIT;
END $stand_in$;
