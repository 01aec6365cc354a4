//! A session with the database that requests use in turns, each with a deadline.

use std::time::Duration;

use super::{
    bounded_mutex::BoundedMutex,
    error::{QueryError, refuse},
};
use crate::{
    config::Settings,
    store::{PgConnection, Session, StoreError},
};

/// Clones share the same session and queue.
#[derive(Clone)]
pub struct SharedSession {
    session: BoundedMutex<Session>,
    deadline: Duration,
    /// What the log says was not possible when the database fails.
    failed: &'static str,
}

impl SharedSession {
    /// `queue` requests may use it or wait for it; each may take the database for `deadline`.
    pub fn new(settings: &Settings, queue: usize, deadline: Duration, failed: &'static str) -> Self {
        let session = BoundedMutex::new(Session::new(settings.database.clone()), queue, settings.query.wait());
        Self { session, deadline, failed }
    }

    /// # Errors
    /// `Busy`: too many wait, or it was not free in time. Otherwise what [`refuse`] makes of the database's error, which is logged.
    pub async fn serve<T>(
        &self,
        work: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, QueryError> {
        let mut session = self.session.lock().await?;
        session.run_within(self.deadline, work).await.map_err(|error| refuse(&error, self.failed))
    }
}
