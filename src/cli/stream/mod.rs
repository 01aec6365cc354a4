//! What the commands that put messages on the stream have in common.

mod pace;
mod progress;
mod sender;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::cli::interrupt::interrupted;

pub use pace::{Pace, rate};
pub use progress::Progress;
pub use sender::Sender;

/// Set by Ctrl-C, and by SIGTERM as orchestrators send it.
pub fn interruption() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    tokio::spawn(async move {
        if interrupted().await.is_ok() {
            set.store(true, Ordering::Relaxed);
            tracing::info!("interrupted: waiting for the confirms of what was sent");
        }
    });
    flag
}
