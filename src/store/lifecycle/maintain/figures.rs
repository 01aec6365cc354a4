//! How large the data is, and how much of the tables is dead.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::store::StoreError;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    pub raw: RawFigures,
    pub tables: Vec<TableFigures>,
}

/// Raw events.
#[derive(Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RawFigures {
    pub chunks: i64,
    /// Of all chunks, indexes included.
    pub bytes: i64,
    pub compressed_chunks: i64,
    /// Of the compressed ones.
    pub compressed_bytes: i64,
    pub oldest: Option<DateTime<Utc>>,
}

/// A table that is written again and again: dead rows are what vacuum has not cleared away yet.
#[derive(Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableFigures {
    pub name: String,
    pub bytes: i64,
    pub rows: i64,
    pub dead_rows: i64,
    pub last_vacuum: Option<DateTime<Utc>>,
    /// Of all rows, 0 to 1.
    pub dead_share: f64,
}

impl TableFigures {
    /// For people.
    pub fn line(&self) -> String {
        let percent = self.dead_share * 100.0;
        format!("{}: {} bytes, {} rows, {percent:.1} % dead", self.name, self.bytes, self.rows)
    }
}

pub async fn read(conn: &mut PgConnection) -> Result<Figures, StoreError> {
    let raw = sqlx::query_as(include_str!("../sql/figures_raw.sql")).fetch_one(&mut *conn).await?;
    let tables = sqlx::query_as(include_str!("../sql/figures_tables.sql")).fetch_all(conn).await?;
    Ok(Figures { raw, tables })
}
