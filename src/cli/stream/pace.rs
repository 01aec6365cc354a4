//! Pace: so many messages a second, on average.

use std::time::{Duration, Instant};

use super::sender::{SendError, Sender};

pub struct Pace {
    started: Instant,
    /// As quick as possible when there is none.
    rate: Option<f64>,
}

impl Pace {
    pub fn new(rate: Option<f64>) -> Self {
        Self { started: Instant::now(), rate }
    }

    /// Waits until message number `sent` is due. A late one is followed by the next at once, so the rate holds on
    /// average.
    pub async fn wait(&self, sent: u64, sender: &mut Sender) -> Result<(), SendError> {
        let Some(rate) = self.rate else { return Ok(()) };
        #[expect(clippy::cast_precision_loss, reason = "a message is a microsecond off after 2^52 of them")]
        let due = self.started + Duration::from_secs_f64(sent as f64 / rate);
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            sender.check().await?;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

/// Reads the argument `--rate`.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "must be a number of messages a second from 0.001 to 1000000000".to_owned())
}
