-- The most frequent reasons of the dead letters of the last 24 hours, wherever in the JSON each was.
-- $1 most rows
SELECT regexp_replace(reason, ' at line [0-9]+ column [0-9]+$', '') AS reason, count(*) AS count
FROM analytics.dead_letters, unnest(reasons) AS one (reason)
WHERE dead_letter_id >= (SELECT analytics.uuid_v7(clock_timestamp() - INTERVAL '1 day'))
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $1
