//! What an operator sees of the data's life.

use sqlx::{FromRow, PgConnection};

use super::{ReadError, Reader, status};
use crate::{
    domain::data_life::{DataLife, SetLife, TableSize},
    store::{attribution::sets, schema},
};

impl Reader {
    pub async fn data_life(&self) -> Result<DataLife, ReadError> {
        self.within_limits(read).await
    }
}

async fn read(conn: &mut PgConnection) -> Result<DataLife, ReadError> {
    let server = schema::probe(conn).await?;
    let runs = status::runs(conn).await?;
    let tables: Vec<TableRow> = sqlx::query_as(include_str!("sql/table_sizes.sql")).fetch_all(&mut *conn).await?;
    let sets = sets::kept(conn).await?.into_iter();
    Ok(DataLife {
        engine: server.engine.as_str().to_owned(),
        schema_version: server.schema,
        edition: if server.is_community() { "community" } else { "apache" },
        postgresql: server.postgres,
        timescaledb: server.timescaledb,
        runs,
        tables: tables.into_iter().map(|TableRow { name, bytes, rows }| TableSize { name, bytes, rows }).collect(),
        attribution: sets
            .map(|kept| SetLife { set: kept.set.to_string(), complete_from: kept.complete_from })
            .collect(),
    })
}

#[derive(FromRow)]
struct TableRow {
    name: String,
    bytes: i64,
    rows: Option<i64>,
}
