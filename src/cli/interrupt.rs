//! How a command notices that it is asked to end.

use crate::app::Signals;

/// Waits for Ctrl-C, or for SIGTERM as orchestrators send it: the first process of a container would not be ended by that alone.
///
/// # Errors
/// The system does not let this process listen.
pub async fn interrupted() -> anyhow::Result<()> {
    Signals::new()?.next().await;
    Ok(())
}
