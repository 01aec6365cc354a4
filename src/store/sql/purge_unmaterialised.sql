-- From when on raw events have to stay, since the continuous aggregates do not have all of them yet: hours that wait to be
-- refreshed, and what no refresh has come to. Null: nothing before the moment.
-- $1 the moment
SELECT least(
    (SELECT min(bucket_start) FROM analytics.rollup_touched
     WHERE bucket_start < $1
       -- What lies before the horizon cannot be refreshed any more.
       AND bucket_start >= coalesce((SELECT raw_from FROM analytics.raw_horizons WHERE org_id IS NULL), '-infinity')),
    -- Events, and not how far it is materialised: that stands still where nothing comes.
    (SELECT min(occurred_at) FROM analytics.usage_events
     WHERE occurred_at >= analytics.materialised_to('hourly_continuous') AND occurred_at < $1))
