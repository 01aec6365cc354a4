-- How much each set of attribution has, from some pages of the table where it has many. $1 percent of the pages
SELECT s.dimensions, coalesce(p.parts, 0)::float8 AS parts, coalesce(p.bytes, 0)::float8 AS bytes, s.set_id
FROM analytics.attribution_sets AS s
     LEFT JOIN (SELECT set_id, count(*) AS parts, sum(pg_column_size(packed)) AS bytes
                FROM analytics.attribution_parts TABLESAMPLE SYSTEM ($1) GROUP BY 1) AS p USING (set_id)
WHERE s.retired_at IS NULL
ORDER BY s.set_id
