//! What a start needs of the database beside its schema's version: the rights, the tables, and a session of its own. What is
//! missing would show in the middle of a batch otherwise.

use sqlx::PgConnection;

use super::{
    StoreError, connect_writer,
    schema::{self, Server},
    transaction::in_transaction,
};
use crate::config::Database;

/// Tables without which nothing works; others belong to functions that may be off.
const TABLES: [&str; 10] = [
    "usage_events",
    "ingestion_batches",
    "ledger_hourly",
    "partition_offsets",
    "partition_watermarks",
    "processes",
    "rollup_pending",
    "dead_letters",
    "hourly_rollups",
    "daily_rollups",
];
/// Missing ones that are named.
const MOST_NAMED: usize = 5;
/// How often it is looked whether the session is the same one.
const LOOKS: u32 = 3;

/// # Errors
/// `Permanent`, with what to do.
pub async fn check(conn: &mut PgConnection, database: &Database, server: &Server) -> Result<(), StoreError> {
    session(conn, database).await?;
    tables(conn).await?;
    // Of a newer schema some tables are not known here, nor what may be done with them.
    let of_all = server.schema <= schema::newest();
    rights(conn, (!of_all).then_some(&TABLES[..])).await
}

/// Whether connections have sessions of their own. A pooler in transaction mode gives the session of an idle connection to
/// another's transaction.
async fn session(conn: &mut PgConnection, database: &Database) -> Result<(), StoreError> {
    let first = backend(conn).await?;
    let mut other = connect_writer(database).await?;
    let shared = in_transaction(&mut other, async |tx| {
        let of_other = backend(tx).await?;
        let mut moved = of_other == first;
        for _ in 0..LOOKS {
            moved |= backend(&mut *conn).await? != first;
        }
        Ok::<_, StoreError>(moved)
    })
    .await?;
    if shared { Err(StoreError::pooled()) } else { Ok(()) }
}

async fn backend(conn: &mut PgConnection) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(conn).await?)
}

async fn tables(conn: &mut PgConnection) -> Result<(), StoreError> {
    let missing: Vec<String> = sqlx::query_scalar(
        "SELECT 'analytics.' || name FROM unnest($1::text[]) AS name WHERE to_regclass('analytics.' || name) IS NULL",
    )
    .bind(&TABLES[..])
    .fetch_all(conn)
    .await?;
    none_of(&missing, "tables are missing")
}

async fn rights(conn: &mut PgConnection, of: Option<&[&str]>) -> Result<(), StoreError> {
    let usage: bool =
        sqlx::query_scalar("SELECT has_schema_privilege('analytics', 'USAGE')").fetch_one(&mut *conn).await?;
    if !usage {
        return Err(StoreError::Lacks("the role lacks USAGE on schema analytics".to_owned()));
    }
    let missing: Vec<String> =
        sqlx::query_scalar(include_str!("sql/probe_rights.sql")).bind(of).fetch_all(conn).await?;
    none_of(&missing, "the role lacks rights")
}

fn none_of(missing: &[String], what: &str) -> Result<(), StoreError> {
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(StoreError::Lacks(format!("{what}: {named}{more}")))
}
