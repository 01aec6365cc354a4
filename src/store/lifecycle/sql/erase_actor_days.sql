-- The orgs and UTC days that have raw events of a person.
-- $1 actor, $2 org (null: all), $3 orgs that the ledger's hours may not have yet
WITH RECURSIVE known AS (
    -- From one org to the next by the index, since an org has a row for each hour.
    (SELECT org_id FROM analytics.ledger_hourly WHERE org_id IS NOT NULL ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.org_id FROM analytics.ledger_hourly l WHERE l.org_id > known.org_id ORDER BY l.org_id LIMIT 1)
    FROM known WHERE known.org_id IS NOT NULL
),
orgs AS (
    SELECT $2::uuid AS org_id WHERE $2 IS NOT NULL
    UNION
    SELECT org_id FROM known WHERE $2 IS NULL AND org_id IS NOT NULL
    UNION
    -- Their hours may all be purged while raw events are kept.
    SELECT org_id FROM analytics.retention_floors WHERE $2 IS NULL AND kind = 'ledger'
    UNION
    SELECT unnest($3::uuid[]) WHERE $2 IS NULL
)
SELECT orgs.org_id, found.day, found.events
FROM orgs
-- One look into the index of people for each org.
CROSS JOIN LATERAL (
    SELECT date_trunc('day', occurred_at, 'UTC') AS day, count(*) AS events
    FROM analytics.usage_events u
    WHERE u.org_id = orgs.org_id AND u.actor_id = $1
    GROUP BY 1
) AS found
ORDER BY orgs.org_id, found.day
