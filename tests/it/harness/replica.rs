//! An asynchronous replica of the stack's PostgreSQL server, which can be cut off and promoted.

use std::ops::Deref;

use super::{DatabaseServer, eventually};

pub struct Replica(DatabaseServer);

impl Replica {
    /// Copies the stack's server and starts the copy. `None` where the stack has not the packages for it.
    pub async fn start() -> Option<Self> {
        DatabaseServer::replica().await.map(Self)
    }

    /// Lets nothing more come from the primary.
    pub async fn cut_off(&self) {
        self.query("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.query("SELECT pg_reload_conf()").await;
        eventually("nothing comes any more", async || {
            (self.query("SELECT count(*) FROM pg_stat_wal_receiver").await == "0").then_some(())
        })
        .await;
    }

    /// Makes it a primary, with what it has.
    pub async fn promote(&self) {
        assert_eq!(self.query("SELECT pg_promote()").await, "t");
    }
}

impl Deref for Replica {
    type Target = DatabaseServer;

    fn deref(&self) -> &DatabaseServer {
        &self.0
    }
}
