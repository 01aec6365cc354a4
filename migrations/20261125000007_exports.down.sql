-- Objects that exports made stay in the object store.
DROP TABLE analytics.export_jobs;
