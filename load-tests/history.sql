-- A history of rollups to read from: as wide and as deep as an installation has after thirteen months.
-- :orgs × :models; daily rollups for :days days; hourly ones in every hour of the last :dense_days days, and before that
-- in one hour of eight, so that it fits on a small disk. What hours can be requested, 90 days, is dense.
-- Days are not the sums of these hours: only the shape matters here.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;

CREATE FUNCTION pg_temp.varint(n int) RETURNS bytea LANGUAGE sql AS $$
    SELECT CASE WHEN n < 128 THEN set_byte('\x00', 0, n)
                ELSE set_byte('\x00', 0, n & 127 | 128) || set_byte('\x00', 0, n >> 7) END
$$;

-- 256 buckets' contents: from one event to a thousand, latencies around 300 ms with a long tail.
CREATE TEMP TABLE contents AS
WITH drawn AS (
    SELECT n, least(greatest(80 + round(20 * random_normal()), 0), 330)::int AS bucket
    FROM generate_series(0, 255) AS n, generate_series(1, (1 + exp(3 + 1.3 * sin(n)))::int)
), counted AS (
    SELECT n, bucket, count(*)::int AS events FROM drawn GROUP BY n, bucket
)
SELECT n, sum(events) AS events,
       pg_temp.varint(count(*)::int)
       || string_agg(pg_temp.varint(bucket) || pg_temp.varint(events), ''::bytea ORDER BY bucket) AS histogram
FROM counted GROUP BY n;
CREATE UNIQUE INDEX ON contents (n);
ANALYZE contents;

CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
$$;

\echo hourly rollups, in the order in which they are merged
INSERT INTO analytics.hourly_rollups
SELECT pg_temp.id(o), h, pg_temp.id(m), c.events, 0, 0, 0, c.events * 500, c.events * 200, c.events * 0.0123,
       c.events * 300, 5, 9000, c.histogram, h + interval '59 min', h + interval '60 min'
FROM generate_series(date_trunc('hour', now()) - make_interval(days => :days), date_trunc('hour', now()), interval '1 hour') AS h,
     generate_series(1, :orgs) AS o,
     generate_series(1, :models) AS m,
     contents AS c
WHERE c.n = (o * 31 + m * 17 + extract(hour FROM h)::int * 7 + extract(doy FROM h)::int) % 256
  AND (h >= now() - make_interval(days => :dense_days) OR (o + m + extract(hour FROM h)::int) % 8 = 0)
ORDER BY h, o, m;

\echo daily rollups
INSERT INTO analytics.daily_rollups
SELECT pg_temp.id(o), d, pg_temp.id(m), c.events * 20, c.events, 0, 0, c.events * 500, c.events * 200, c.events * 0.0123,
       c.events * 300, 5, 9000, c.histogram, d + interval '23 hour', d + interval '24 hour'
FROM generate_series(date_trunc('day', now()) - make_interval(days => :days), date_trunc('day', now()), interval '1 day') AS d,
     generate_series(1, :orgs) AS o,
     generate_series(1, :models) AS m,
     contents AS c
WHERE c.n = (o * 31 + m * 17 + extract(doy FROM d)::int) % 256
ORDER BY d, o, m;

INSERT INTO analytics.ledger_hourly
SELECT pg_temp.id(o), date_trunc('hour', now()), 1, 1, 0, 0, 0, 0 FROM generate_series(1, :orgs) AS o;
INSERT INTO analytics.freshness_status
SELECT pg_temp.id(o), pg_temp.id(m), now(), now(), 0, 'fresh'
FROM generate_series(1, :orgs) AS o, generate_series(1, :models) AS m;
INSERT INTO analytics.partition_watermarks VALUES (:'stream', 0, now())
ON CONFLICT (stream, partition) DO UPDATE SET watermark = now();

VACUUM (ANALYZE) analytics.hourly_rollups;
VACUUM (ANALYZE) analytics.daily_rollups;
VACUUM (ANALYZE) analytics.freshness_status;
\echo rows
SELECT relname, to_char(reltuples, '999,999,999') AS rows, pg_size_pretty(pg_total_relation_size(oid)) AS size
FROM pg_class WHERE oid IN ('analytics.hourly_rollups'::regclass, 'analytics.daily_rollups'::regclass);
