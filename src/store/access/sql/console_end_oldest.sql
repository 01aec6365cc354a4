-- Ends the sessions of a subject that leave no room for one more, the oldest first.
-- $1 subject, $2 port, $3 how many may stay
DELETE FROM analytics.console_sessions
WHERE session_sha256 IN (
    SELECT session_sha256 FROM analytics.console_sessions
    WHERE subject = $1 AND port = $2
    ORDER BY signed_in_at DESC
    OFFSET $3
)
