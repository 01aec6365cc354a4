-- Dead letters of an org or of one of its people.
-- $1 org (null: any), $2 actor (null: all), both as 32 hexadecimal digits
SELECT dead_letter_id
FROM analytics.dead_letters d
CROSS JOIN LATERAL (
    -- A message that is no event may have an id in any spelling: upper or lower case, with or without hyphens. What is
    -- not ASCII is escaped.
    SELECT replace(lower(encode(d.payload, 'escape')), '-', '')
           || coalesce(' ' || replace(lower(encode(d.correction, 'escape')), '-', ''), '') AS text
) AS spelt
WHERE ($1::text IS NULL
       OR d.org_id = $1::uuid
       -- Whose it is was not readable, and it names the org all the same.
       OR (d.org_id IS NULL AND strpos(spelt.text, $1) > 0))
  AND ($2::text IS NULL OR strpos(spelt.text, $2) > 0)
