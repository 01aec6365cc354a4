-- Roles and the database, as the design has them: migrations and the service run as different roles.
-- Repeatable; runs as the superuser after every start of the server. Expects :owner_password, :service_password.

SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['analytics_owner', 'analytics_service']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

-- CREATEDB: the tests make a database of their own each.
ALTER ROLE analytics_owner LOGIN CREATEDB PASSWORD :'owner_password';
ALTER ROLE analytics_service LOGIN PASSWORD :'service_password';

-- So that a test of rights can SET ROLE to the service, and end its sessions.
GRANT analytics_service TO analytics_owner;

SELECT 'CREATE DATABASE analytics OWNER analytics_owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'analytics')
\gexec
