-- Keys that were made with another key stay, and are not known to be. Rows that count several audit events count one again.
DROP TABLE analytics.org_buckets;
ALTER TABLE analytics.audit_events DROP COLUMN event_count, DROP COLUMN first_at;
DROP INDEX analytics.api_keys_request, analytics.api_keys_parent;
ALTER TABLE analytics.api_keys DROP COLUMN parent_id, DROP COLUMN idempotency_key, DROP COLUMN request_sha256;
