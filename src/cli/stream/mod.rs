//! What the commands that put messages on the stream have in common.

mod pace;
mod progress;
mod sender;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

pub use pace::{Pace, rate};
pub use progress::Progress;
pub use sender::Sender;

/// Set by Ctrl-C, and by SIGTERM as orchestrators send it.
pub fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupted);
    tokio::spawn(async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        let asked = tokio::select! {
            asked = tokio::signal::ctrl_c() => asked.is_ok(),
            asked = terminate.recv() => asked.is_some(),
        };
        if asked {
            set.store(true, Ordering::Relaxed);
            tracing::info!("interrupted: waiting for the confirms of what was sent");
        }
    });
    interrupted
}
