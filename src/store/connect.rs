//! Opening connections, each with limits that the server itself keeps: a backend whose client has given up ends, also while
//! it waits for a lock.
//!
//! Parameters are set by SET after connecting. A connection pooler in session mode refuses them at startup.

use std::{str::FromStr, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};

use super::StoreError;
use crate::config::{Database, Secret};

/// How often the server looks whether the client of a running statement is still there.
const CHECK_CLIENT: &str = "500ms";
/// Longest that work without a deadline of its own waits for one lock: several times as long as a batch or a merge may take.
pub(super) const LONG_LOCK: Duration = Duration::from_secs(600);
/// Longest that work of any length leaves a transaction alone between two statements: a command that was stopped (Ctrl-Z) or
/// whose machine sleeps would keep its locks.
const LONG_PAUSE: Duration = Duration::from_secs(300);
/// Longest that one statement may take that reads much: the client's pace counts too.
const LONG_STATEMENT: Duration = Duration::from_secs(1800);

/// Parameters of a session: what the server is to do with it.
#[derive(Clone, Debug)]
pub struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// What every connection has.
    pub fn common() -> Self {
        let none = Self(Vec::new());
        none.with("client_connection_check_interval", CHECK_CLIENT)
            .with("tcp_keepalives_idle", "10")
            .with("tcp_keepalives_interval", "5")
            .with("tcp_keepalives_count", "3")
            .with("tcp_user_timeout", "30s")
            .with("jit", "off")
            // Plans for the values at hand. The planner takes a plan for any values to be cheaper, since it expects few rows of a range
            // that it does not know, and then looks up in turn what it would better read at once; and it opens chunks in vain.
            .with("plan_cache_mode", "force_custom_plan")
    }

    /// Constants of the source, or numbers: never input.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.into()));
        self
    }

    /// Limits for work that its client gives up after `deadline`: the server gives up a little earlier, and says why.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        let share = |of_ten: u32| milliseconds(deadline * of_ten / 10);
        self.with("lock_timeout", share(8))
            .with("statement_timeout", share(9))
            // Longer than a transaction may take, shorter than for ever, should this process freeze.
            .with("idle_in_transaction_session_timeout", milliseconds(deadline))
    }

    /// A writer's: what it looks up was written lately and is in memory.
    fn writer(deadline: Duration) -> Self {
        Self::common().within(deadline).with("random_page_cost", "1.1")
    }

    fn statements(&self) -> String {
        self.0.iter().map(|(name, value)| format!("SET {name} = '{value}';")).collect()
    }

    /// One simple query: no statement is prepared, and there is one round trip.
    pub async fn apply(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(self.statements())).execute(conn).await?;
        Ok(())
    }
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().max(1))
}

/// Opens a connection for work of any length. Errors do not hold the URL.
pub async fn connect(url: &Secret, timeout: Duration) -> Result<PgConnection, StoreError> {
    let parameters = Parameters::common()
        .with("lock_timeout", milliseconds(LONG_LOCK))
        .with("idle_in_transaction_session_timeout", milliseconds(LONG_PAUSE));
    open(&options(url)?, timeout, &parameters).await
}

/// Opens a connection as the role that owns the schema: that of `database.migration_url`, where there is one.
pub async fn connect_owner(database: &Database) -> Result<PgConnection, StoreError> {
    let url = if database.migration_url.is_empty() { &database.url } else { &database.migration_url };
    connect(url, database.connect_timeout()).await
}

/// Opens a connection for work that is given up after `database.write_timeout_ms`.
pub async fn connect_writer(database: &Database) -> Result<PgConnection, StoreError> {
    let parameters = Parameters::writer(database.write_timeout());
    open(&of_service(database)?, database.connect_timeout(), &parameters).await
}

/// Opens a connection that reads so much that it may take as long as its client's pace makes it.
pub async fn connect_loader(database: &Database) -> Result<PgConnection, StoreError> {
    let long = milliseconds(LONG_STATEMENT);
    let parameters = Parameters::writer(database.write_timeout()).with("statement_timeout", long);
    open(&of_service(database)?, database.connect_timeout(), &parameters).await
}

fn of_service(database: &Database) -> Result<PgConnectOptions, StoreError> {
    Ok(options(&database.url)?.application_name(&database.application_name))
}

pub(super) async fn open(
    options: &PgConnectOptions,
    timeout: Duration,
    parameters: &Parameters,
) -> Result<PgConnection, StoreError> {
    let opened = async {
        let mut conn = options.connect().await?;
        parameters.apply(&mut conn).await?;
        Ok(conn)
    };
    tokio::time::timeout(timeout, opened).await.unwrap_or(Err(StoreError::Timeout(timeout)))
}

/// The role that a URL connects as.
pub fn user_of(url: &Secret) -> Result<String, StoreError> {
    Ok(options(url)?.get_username().to_owned())
}

pub(super) fn options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.expose())
        .map_err(|_| StoreError::Permanent("the connection URL cannot be read".to_owned()))?;
    // Our own deadlines judge statements; slow ones are no news at high load. A pooler refuses extra_float_digits at startup,
    // and the server's default gives every digit.
    let options = options.extra_float_digits(None).log_slow_statements(log::LevelFilter::Off, Duration::ZERO);
    Ok(options.application_name("analytics-service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_gives_up_before_its_client() {
        let statements = Parameters::common().within(Duration::from_secs(1)).statements();
        for wanted in ["lock_timeout = '800ms'", "statement_timeout = '900ms'", "session_timeout = '1000ms'"] {
            assert!(statements.contains(wanted), "{statements}");
        }
    }
}
