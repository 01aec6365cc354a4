-- What there is of an org, beside its dead letters and what waits to be merged. $1 org
SELECT (SELECT count(*) FROM analytics.usage_events WHERE org_id = $1) AS raw_events,
       (SELECT count(*) FROM analytics.hourly_usage WHERE org_id = $1) AS hourly_rollups,
       (SELECT count(*) FROM analytics.daily_usage WHERE org_id = $1) AS daily_rollups,
       (SELECT count(*) FROM analytics.rollup_revisions WHERE org_id = $1) AS revisions,
       (SELECT count(*) FROM analytics.freshness_status WHERE org_id = $1) AS freshness_markers,
       (SELECT count(*) FROM analytics.duplicates WHERE org_id = $1) AS duplicates,
       (SELECT count(*) FROM analytics.api_keys WHERE org_id = $1) AS api_keys,
       (SELECT count(*) FROM analytics.org_settings WHERE org_id = $1)
           + (SELECT count(*) FROM analytics.org_buckets WHERE org_id = $1) AS settings,
       (SELECT count(*) FROM analytics.names WHERE org_id = $1) AS names,
       (SELECT count(*) FROM analytics.export_jobs WHERE org_id = $1) AS exports
