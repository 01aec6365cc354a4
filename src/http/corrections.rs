//! The way from a handler to the actor that stores corrections.

use std::time::Duration;

use actix::MailboxError;

use super::error::Problem;
use crate::{
    actors::{corrections::Correct, supervision::line::Line},
    domain::correction::Outcome,
};

/// Sends a correction to the actor, and waits for its answer.
pub async fn correct(line: &Line<Correct>, correction: Correct, within: Duration) -> Result<Outcome, Problem> {
    let actor = line.get().ok_or(Problem::Unavailable)?;
    match actor.send(correction).timeout(within).await {
        Ok(answer) => Ok(answer?),
        Err(MailboxError::Timeout) => Err(Problem::TooSlow),
        Err(MailboxError::Closed) => Err(Problem::Unavailable),
    }
}
