-- Takes the service's schema away with all its data; the extension stays, others may use it.
DROP SCHEMA analytics CASCADE;
