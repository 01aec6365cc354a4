//! What the commands that put messages on the stream have in common.

mod pace;
mod progress;
mod sender;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use pace::{Pace, rate};
pub use progress::Progress;
pub use sender::Sender;

/// Set by Ctrl-C.
pub fn interrupted_by_ctrl_c() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupted);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            set.store(true, Ordering::Relaxed);
            tracing::info!("interrupted: waiting for the confirms of what was sent");
        }
    });
    interrupted
}
