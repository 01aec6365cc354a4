-- Begins a set. It has what is folded from now on: all of the hours that begin when no event can lie in them yet. Where nothing was
-- ever stored it has all. The caller holds merges off.
-- $1 dimensions, $2 most keys of an org and day, $3 how far ahead of the clock an event may lie
INSERT INTO analytics.attribution_sets (dimensions, max_keys, complete_from, days_to, months_to)
SELECT $1, $2,
       CASE WHEN EXISTS (SELECT FROM analytics.ingestion_batches WHERE stored > 0) OR EXISTS (SELECT FROM analytics.usage_events)
                 OR EXISTS (SELECT FROM analytics.daily_usage)
            THEN date_trunc('hour', now + $3, 'UTC') + INTERVAL '1 hour' ELSE '1970-01-01+00' END,
       date_trunc('day', now, 'UTC'), date_trunc('month', now, 'UTC')
FROM clock_timestamp() AS now
ON CONFLICT (dimensions) WHERE retired_at IS NULL DO NOTHING
