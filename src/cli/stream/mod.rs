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
        let ends = tokio::select! {
            signal = tokio::signal::ctrl_c() => signal.is_ok(),
            signal = terminate.recv() => signal.is_some(),
        };
        if ends {
            set.store(true, Ordering::Relaxed);
            tracing::info!("interrupted: waiting for the confirms of what was sent");
        }
    });
    interrupted
}
