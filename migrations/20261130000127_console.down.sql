-- Everybody is signed out, and links that were not used are no longer good.
DROP TABLE analytics.console_links;
DROP TABLE analytics.console_sessions;
