-- The names are gone.
DROP TRIGGER forget_names ON analytics.erasures;
DROP FUNCTION analytics.forget_names();
DROP TABLE analytics.names;
