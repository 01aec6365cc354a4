-- What the service's role may not do with the schema's tables, as `analytics.grant_to` grants it; the audit log is only added
-- to, the engine and what builds work with only read, and what is materialised read and deleted. The aggregates behind that are their
-- owner's affair: a switch that was killed may have created them and granted nothing yet.
-- $1 the tables that are looked at; null: all
SELECT right_name || ' on analytics.' || c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace,
LATERAL unnest(CASE
    WHEN c.relname IN ('hourly_materialised', 'daily_materialised') THEN ARRAY['SELECT', 'DELETE']
    WHEN c.relkind IN ('v', 'm') OR c.relname IN ('rollup_engine', 'schema_compatibility') THEN ARRAY['SELECT']
    WHEN c.relname = 'audit_events' THEN ARRAY['SELECT', 'INSERT']
    ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) AS right_name
WHERE n.nspname = 'analytics' AND c.relkind IN ('r', 'p', 'v', 'm')
  AND ($1::text[] IS NULL OR c.relname = ANY ($1))
  AND c.relname NOT IN ('hourly_continuous', 'daily_continuous')
  AND NOT has_table_privilege(c.oid, right_name)
ORDER BY c.relname, right_name
