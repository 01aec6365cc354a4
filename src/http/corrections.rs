//! The way from a handler to the actor that stores corrections.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix::{MailboxError, Recipient};

use super::error::Problem;
use crate::{actors::corrections::Correct, domain::correction::Outcome};

/// A handle: clones see the same. An actor that is started again is set again.
#[derive(Clone, Default)]
pub struct Corrections(Arc<RwLock<Option<Recipient<Correct>>>>);

impl Corrections {
    pub fn set(&self, actor: Recipient<Correct>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(actor);
    }

    /// Sends a correction to the actor, and waits for its answer.
    pub(super) async fn correct(&self, correction: Correct, within: Duration) -> Result<Outcome, Problem> {
        // Sent within the block: the handle must not stay locked while the answer is waited for.
        let sent = {
            let actor = self.0.read().unwrap_or_else(PoisonError::into_inner);
            actor.as_ref().ok_or(Problem::Unavailable)?.send(correction)
        };
        match sent.timeout(within).await {
            Ok(answer) => Ok(answer?),
            Err(MailboxError::Timeout) => Err(Problem::TooSlow),
            Err(MailboxError::Closed) => Err(Problem::Unavailable),
        }
    }
}
