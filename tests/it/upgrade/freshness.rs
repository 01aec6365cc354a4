//! How complete responses can be at most: the least watermark of all partitions, which has to move all the time.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::{
    sync::oneshot::{self, Sender, error::TryRecvError},
    task::JoinHandle,
    time::sleep,
};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default)]
pub struct Freshness {
    /// Longest that it stood still.
    pub standstill: Duration,
    /// Farthest that it was behind the database's clock, seconds.
    pub behind: f64,
}

pub struct Watch {
    stop: Sender<()>,
    looks: JoinHandle<Freshness>,
}

impl Watch {
    pub fn start(conn: PgConnection) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, looks: tokio::spawn(look(conn, stopped)) }
    }

    pub async fn stop(self) -> Freshness {
        drop(self.stop);
        self.looks.await.unwrap()
    }
}

async fn look(mut conn: PgConnection, mut stopped: oneshot::Receiver<()>) -> Freshness {
    let (mut seen, mut last, mut moved) = (Freshness::default(), DateTime::UNIX_EPOCH, Instant::now());
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        let least = "SELECT min(watermark), extract(epoch FROM clock_timestamp() - min(watermark))::double precision
                     FROM analytics.partition_watermarks";
        let (watermark, behind): (DateTime<Utc>, f64) = sqlx::query_as(least).fetch_one(&mut conn).await.unwrap();
        assert!(watermark >= last, "{watermark} after {last}");
        if watermark > last {
            (last, moved) = (watermark, Instant::now());
        }
        seen.standstill = seen.standstill.max(moved.elapsed());
        seen.behind = seen.behind.max(behind);
        sleep(LOOK_EVERY).await;
    }
    seen
}
