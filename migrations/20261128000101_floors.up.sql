-- Retention floors: from when on there is all of an org's rollups, revisions and ledger hours, since what lay before was
-- purged or erased. Only adds: a build of before works on beside it, and raises no floor by what it purges.

CREATE TABLE analytics.retention_floors (
    org_id   uuid NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('hourly', 'daily', 'revisions', 'ledger')),
    floor_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, kind)
);
COMMENT ON TABLE analytics.retention_floors IS
    'raised in the transaction that purges, and never lowered; an org of which nothing was purged has no row';

-- Of an erased org nothing is left, so it has no floors but this one. An event may lie a little ahead of the clock.
ALTER TABLE analytics.erasures ADD COLUMN floor_at timestamptz;
UPDATE analytics.erasures SET floor_at = erased_at;
COMMENT ON COLUMN analytics.erasures.floor_at IS
    'everything that occurred before was erased; what comes from before later is stored and never shown';

-- From when on there is all of something of an org; null: always. Raw events are purged for everybody or for an org; an
-- erasure leaves the ledger as it is.
CREATE FUNCTION analytics.floor_of(org uuid, of_kind text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT f.floor_at FROM analytics.retention_floors f WHERE f.org_id = org AND f.kind = of_kind),
        (SELECT coalesce(e.floor_at, e.erased_at) FROM analytics.erasures e WHERE e.org_id = org AND of_kind <> 'ledger'),
        (SELECT max(h.raw_from) FROM analytics.raw_horizons h WHERE (h.org_id = org OR h.org_id IS NULL) AND of_kind = 'raw'))
$$;

-- What was purged until now was not recorded. The floors are at least where it can have come to, for every org that is
-- known; too high a floor refuses an answer, too low a one gives a wrong one. Nothing where nothing was ever purged.
WITH RECURSIVE known (org_id) AS (
    (SELECT org_id FROM analytics.ledger_hourly WHERE org_id IS NOT NULL ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT following.org_id
    FROM known, LATERAL (
        SELECT l.org_id FROM analytics.ledger_hourly l WHERE l.org_id > known.org_id ORDER BY l.org_id LIMIT 1
    ) AS following
),
last_purge AS (
    SELECT coalesce(finished_at, started_at) AS at, (summary #>> '{rollups,before}')::timestamptz AS rollups,
           (summary #>> '{ledger,before}')::timestamptz AS ledger
    FROM analytics.maintenance_runs WHERE task = 'purge'
),
-- A retention of its own, for as long as it was set: a purge at its very end may have kept to it.
own AS (
    SELECT org_id, max(until - make_interval(days => days)) AS rollups
    FROM (
        SELECT org_id, (regexp_match(detail, 'rollup_days (\d+)'))[1]::integer AS days,
               coalesce(lead(occurred_at) OVER (PARTITION BY org_id ORDER BY event_id), now()) AS until
        FROM analytics.audit_events
        WHERE outcome = 'allowed'
          AND (action = 'retention.clear' OR (action = 'retention.set' AND detail ~ 'rollup_days \d+'))
    ) AS acts
    WHERE days IS NOT NULL
    GROUP BY org_id
),
reached AS (
    SELECT known.org_id,
           -- An event occurs before it is committed: rollups that begin later than the commits did are not all there.
           greatest(own.rollups,
                    CASE WHEN s.rollup_days IS NULL THEN last_purge.rollups
                         ELSE last_purge.at - make_interval(days => s.rollup_days) END,
                    CASE WHEN begins.rollups > begins.commits THEN begins.rollups END) AS rollups,
           last_purge.ledger
    FROM known CROSS JOIN last_purge
         LEFT JOIN own USING (org_id)
         LEFT JOIN analytics.org_settings s USING (org_id)
         CROSS JOIN LATERAL (
             SELECT (SELECT min(bucket_start) FROM analytics.daily_usage d WHERE d.org_id = known.org_id) AS rollups,
                    (SELECT date_trunc('day', min(hour), 'UTC') FROM analytics.ledger_hourly l
                     WHERE l.org_id = known.org_id AND stored > 0) AS commits
         ) AS begins
)
INSERT INTO analytics.retention_floors (org_id, kind, floor_at)
SELECT org_id, kind, date_trunc('day', rollups, 'UTC')
FROM reached, unnest(ARRAY['hourly', 'daily', 'revisions']) AS kind WHERE rollups IS NOT NULL
UNION ALL
SELECT org_id, 'ledger', ledger FROM reached WHERE ledger IS NOT NULL;
