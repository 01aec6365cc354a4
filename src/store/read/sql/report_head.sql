-- How complete a response about an org is, of the models requested, and from when on there is all of its rollups and raw
-- events: of the same snapshot, so that what is purged meanwhile is refused or still read. And which hours are summed over models.
-- {kind} is put in by the code.
-- $1 org, $4 models (empty: all), $6 stream, $7 the org's partition
    SELECT now() AS queried_at,
           analytics.org_watermark($1, $6, $7) AS watermark,
           analytics.floor_of($1, '{kind}') AS rollups_from,
           analytics.floor_of($1, 'raw') AS raw_from,
           (SELECT ARRAY[summed_from, summed_to] FROM analytics.org_hours_summed) AS summed,
           max(last_event_at) AS last_event_at,
           max(last_rollup_at) AS last_rollup_at
    FROM analytics.freshness_status
    WHERE org_id = $1 AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
