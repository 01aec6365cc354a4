//! Tasks that send: the part under way, and waiting for what one comes to.

use tokio::task::{JoinHandle, JoinSet};

use super::ObjectError;

/// The part that is being sent; dropping it stops that.
pub(super) struct InFlight<T>(JoinSet<Result<T, object_store::Error>>);

impl<T: 'static> Default for InFlight<T> {
    fn default() -> Self {
        Self(JoinSet::new())
    }
}

impl<T: Send + 'static> InFlight<T> {
    pub(super) fn start(&mut self, sending: impl Future<Output = Result<T, object_store::Error>> + Send + 'static) {
        self.0.spawn(sending);
    }

    /// Waits until nothing is being sent, and gives what came of it.
    pub(super) async fn settle(&mut self) -> Result<Option<Result<T, object_store::Error>>, ObjectError> {
        self.0.join_next().await.transpose().map_err(|_| given_up())
    }

    pub(super) async fn cancel(&mut self) {
        self.0.shutdown().await;
    }
}

/// Waits for a task.
pub(super) async fn joined<T>(task: JoinHandle<T>) -> Result<T, ObjectError> {
    task.await.map_err(|_| given_up())
}

/// A task ends so when the process does, or by a panic.
fn given_up() -> ObjectError {
    ObjectError::transient("the process is ending")
}
