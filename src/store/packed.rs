//! Tables with a packed row for each batch: gone through a few rows at a time, and changed in place.

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::StoreError;
use crate::domain::{attribution::Partials, packed::PackedError, rollup::Pending};

/// Rows that are looked at by one statement.
const AT_ONCE: i64 = 50;

/// What the rows of a table have.
pub(in crate::store) trait Packed: Sized {
    fn unpack(bytes: &[u8]) -> Result<Self, PackedError>;
    fn pack(self) -> Result<Vec<u8>, PackedError>;
}

impl Packed for Pending {
    fn unpack(bytes: &[u8]) -> Result<Self, PackedError> {
        Self::unpack(bytes)
    }

    fn pack(self) -> Result<Vec<u8>, PackedError> {
        Self::pack(self)
    }
}

impl Packed for Partials {
    fn unpack(bytes: &[u8]) -> Result<Self, PackedError> {
        Self::unpack(bytes)
    }

    fn pack(self) -> Result<Vec<u8>, PackedError> {
        Self::pack(&self)
    }
}

/// A table, or some of its rows. All constants, never input.
pub(in crate::store) struct PackedRows {
    pub table: &'static str,
    pub column: &'static str,
    /// A condition, or `true`.
    pub only: &'static str,
}

impl PackedRows {
    /// Changes each row for which `change` says that it did. Unless nobody else changes rows, `change` must not.
    ///
    /// # Errors
    /// A row cannot be read.
    pub async fn change<T: Packed>(
        &self,
        tx: &mut PgConnection,
        mut change: impl FnMut(&mut T) -> bool,
    ) -> Result<(), StoreError> {
        self.walk(tx, |batch_id, read| {
            let mut row =
                read.map_err(|error| StoreError::broken(format!("{}, batch {batch_id}: {error}", self.table)))?;
            Ok(change(&mut row).then_some(row))
        })
        .await
    }

    /// Goes through the rows, also those that cannot be read, in the order of their batches. Changes nothing.
    pub async fn read<T: Packed>(
        &self,
        conn: &mut PgConnection,
        mut each: impl FnMut(Uuid, Result<T, PackedError>),
    ) -> Result<(), StoreError> {
        self.walk(conn, |batch_id, read| {
            each(batch_id, read);
            Ok(None)
        })
        .await
    }

    /// Goes through the rows. What `visit` returns is written in their place.
    async fn walk<T: Packed>(
        &self,
        conn: &mut PgConnection,
        mut visit: impl FnMut(Uuid, Result<T, PackedError>) -> Result<Option<T>, StoreError>,
    ) -> Result<(), StoreError> {
        let Self { table, column, only } = self;
        let read = format!(
            "SELECT batch_id, {column} FROM analytics.{table} WHERE {only} AND batch_id > $1 ORDER BY batch_id LIMIT $2"
        );
        let write = format!("UPDATE analytics.{table} SET {column} = $2 WHERE batch_id = $1");
        let mut after = Uuid::nil();
        loop {
            // Safe: what is put in are constants, here and below.
            let rows: Vec<(Uuid, Vec<u8>)> =
                sqlx::query_as(AssertSqlSafe(read.as_str())).bind(after).bind(AT_ONCE).fetch_all(&mut *conn).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = *last;
            for (batch_id, packed) in rows {
                if let Some(row) = visit(batch_id, T::unpack(&packed))? {
                    sqlx::query(AssertSqlSafe(write.as_str()))
                        .bind(batch_id)
                        .bind(row.pack().map_err(StoreError::broken)?)
                        .execute(&mut *conn)
                        .await?;
                }
            }
        }
    }
}
