//! Why the database refused or failed, and whether waiting helps.
//!
//! The one place that reads the driver's errors: [`ReadError`](super::read::ReadError) adds what only a reader can say, the actors what
//! their callers receive for it (`actors::serving::error`), and http the response.

use std::{borrow::Cow, time::Duration};

/// What makes a schema or a role's rights fit again.
const MIGRATE: &str = "the schema or the role's rights are not those that this build works with: run `migrate` with \
                       database.migration_url, which creates what is missing and grants the rights";
const POOLER: &str = "a connection pooler in transaction mode is between the service and the database: session locks and prepared \
                      statements do not work through it; use its session mode, or connect to PostgreSQL directly";

/// Why the database refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's trouble or the network's: the same may go through later.
    #[error("database: {0}")]
    Transient(#[source] sqlx::Error),
    #[error("database: no response within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Another process holds the partition, or an operator changed it: this one must stop working on it.
    #[error(
        "partition {partition} is in epoch {found}, held by {}, not in {ours}: what was started in that one is fenced",
        .holder.as_deref().unwrap_or("nobody")
    )]
    Fenced { partition: u16, ours: i64, found: i64, holder: Option<String> },
    /// The epoch is ours, and the offset is not where this process left it: it must begin again from what is there.
    #[error(
        "partition {partition}: the database's next offset is {found}, and the batch begins at {expected}: its progress was changed"
    )]
    Moved { partition: u16, expected: i64, found: i64 },
    /// The database does not have what it had confirmed: another one has taken its place. What it lacks is to be read again.
    #[error(
        "partition {partition} was committed up to offset {committed} in epoch {ours}, and the database has it up to {found} in epoch \
         {epoch}: commits were lost"
    )]
    LostCommits { partition: u16, ours: i64, committed: i64, epoch: i64, found: i64 },
    /// The database refuses so many events that it is not they who are wrong.
    #[error("database: {0}")]
    Unfit(String),
    /// A table, column or right is missing (SQLSTATE class 42). Names it: for the log, never for a client.
    #[error("database: {0}; {MIGRATE}")]
    Lacks(String),
    /// Will not go away by itself: a value that cannot be, a setting.
    #[error("database: {0}")]
    Permanent(String),
}

impl StoreError {
    /// Which of them it is, in one word: for traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transient(_) => "transient",
            Self::Timeout(_) => "timeout",
            Self::Fenced { .. } => "fenced",
            Self::Moved { .. } => "moved",
            Self::LostCommits { .. } => "lost_commits",
            Self::Unfit(_) => "unfit",
            Self::Lacks(_) => "lacks",
            Self::Permanent(_) => "permanent",
        }
    }

    /// Whether the same may go through later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Timeout(_))
    }

    /// Whether the partition is not where its pipeline left it: that one ends, and what holds the partition reads its row again.
    pub fn ends_pipeline(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Moved { .. } | Self::LostCommits { .. })
    }

    /// Whether a start is to end with it instead of waiting. Beside what is permanent: credentials and a database's name. A
    /// process that runs waits for those, since they are changed outside of it and it may come to be right again.
    pub fn ends_start(&self) -> bool {
        match self {
            Self::Transient(_) => self.sqlstate().is_some_and(|code| code.starts_with("28") || code == "3D000"),
            Self::Timeout(_) => false,
            _ => true,
        }
    }

    /// Of an error that may pass, where it is the server's.
    pub(super) fn sqlstate(&self) -> Option<Cow<'_, str>> {
        let Self::Transient(error) = self else { return None };
        error.as_database_error()?.code()
    }

    /// No lock in time, or a deadlock: with patience it works.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.sqlstate().is_some_and(|code| code == "55P03" || code == "40P01")
    }

    /// A pooler that gives each transaction another session.
    pub(super) fn pooled() -> Self {
        Self::Permanent(POOLER.to_owned())
    }

    /// What was packed cannot be read, or not be packed.
    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        Self::Permanent(error.to_string())
    }

    /// A value that the schema rules out.
    pub(super) fn impossible(what: &str) -> Self {
        Self::Permanent(format!("the database returned what cannot be: {what}"))
    }
}

/// What a server says of an error, and what it says to do about it. Not where in PostgreSQL's sources it found it.
pub(super) fn said(error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else { return error.to_string() };
    match database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|postgres| postgres.hint()) {
        Some(hint) => format!("{} ({hint})", database.message()),
        None => database.message().to_owned(),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let code = error.as_database_error().and_then(|error| Some(error.code()?.into_owned()));
        match (code.as_deref(), &error) {
            // Prepared by another client of a pooler, or not prepared on this connection of its.
            (Some("26000" | "42P05"), _) => Self::pooled(),
            // But for a chunk that was dropped meanwhile: the next attempt does not see it.
            (Some(code), _) if code.starts_with("42") && !error.to_string().contains("_hyper_") => {
                Self::Lacks(format!("{} (SQLSTATE {code})", said(&error)))
            }
            // A value that cannot be, such as a sum that overflows.
            (Some(code), _) if code.starts_with("22") => Self::Permanent(format!("{} (SQLSTATE {code})", said(&error))),
            (None, E::ColumnDecode { .. } | E::Decode(_) | E::Encode(_) | E::ColumnNotFound(_)) => {
                Self::Permanent(error.to_string())
            }
            _ => Self::Transient(error),
        }
    }
}
