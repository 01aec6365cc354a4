//! What the database can do: one COPY of the same rows into the same kind of table, in one transaction. Alone it has a core for
//! itself, and its client and the system the other one; beside a busy core they share what the service has as well.

use std::time::Instant;

use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::{
    args::{By, Part},
    figures::{Figures, Unit},
    filled::{self, Filled},
    harness::World,
    processor::{Backends, BusyCore, Servers, of_process},
};

/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;

pub const ALONE: &str = "COPY, alone";
pub const BUSY: &str = "COPY, beside a busy core";

pub struct Rows {
    world: World,
    pieces: Vec<Vec<u8>>,
    rows: u64,
}

impl Rows {
    /// The rows that a service makes of the stream, in their order.
    pub async fn of(filled: &Filled, by: By, servers: &Servers) -> Self {
        println!("storing them once, for the rows");
        let world = filled.database(by).await;
        let service = filled::start(&world, servers).await;
        let mut conn = world.connect().await;
        filled.read(&mut conn, &mut Backends::default()).await;
        filled.assert_exact(&mut conn).await;
        service.terminate().await;
        let rows = "COPY (SELECT * FROM analytics.usage_events) TO STDOUT (FORMAT binary)";
        let mut parts = conn.copy_out_raw(rows).await.unwrap();
        let mut pieces = vec![Vec::with_capacity(PIECE)];
        while let Some(part) = parts.try_next().await.unwrap() {
            if pieces[pieces.len() - 1].len() + part.len() > PIECE {
                pieces.push(Vec::with_capacity(PIECE));
            }
            pieces.last_mut().unwrap().extend_from_slice(&part);
        }
        drop(parts);
        Self { world, pieces, rows: filled.events }
    }

    pub async fn measure(&self, servers: &Servers, figures: &mut Figures) {
        let mut owner = self.world.connect_as_owner().await;
        for (what, busy) in [(ALONE, false), (BUSY, true)] {
            servers.quiet().await;
            let beside = busy.then(BusyCore::start);
            let (seconds, processor) = self.copy(&mut owner).await;
            drop(beside);
            figures.add(Part::Copy, what, Unit::PerSecond, self.rows as f64 / seconds);
            if !busy && servers.are_known() {
                let each = processor * 1e6 / self.rows as f64;
                figures.add(Part::Copy, "processor time of its backend, a row", Unit::Micros, each);
            }
        }
    }

    /// Seconds that it takes, and of processor time of its backend.
    async fn copy(&self, owner: &mut PgConnection) -> (f64, f64) {
        for statement in [
            "DROP TABLE IF EXISTS analytics.bare",
            "CREATE TABLE analytics.bare (LIKE analytics.usage_events INCLUDING ALL)",
            "SELECT create_hypertable('analytics.bare', by_range('occurred_at', INTERVAL '1 day'), create_default_indexes => false)",
        ] {
            sqlx::query(statement).execute(&mut *owner).await.unwrap();
        }
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *owner).await.unwrap();
        let (used, began) = (of_process(backend.unsigned_abs()), Instant::now());
        let mut copy = owner.copy_in_raw("COPY analytics.bare FROM STDIN (FORMAT binary)").await.unwrap();
        for piece in &self.pieces {
            copy.send(piece.as_slice()).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), self.rows);
        (began.elapsed().as_secs_f64(), of_process(backend.unsigned_abs()) - used)
    }
}
