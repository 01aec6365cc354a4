//! Holes: what the reader makes of offsets that no message came for, before a message and at the stream's end.

use tokio::time::Instant;

use super::{Ended, Reader};
use crate::{
    actors::supervision::log::Note,
    broker::{
        BrokerError,
        incoming::{Incoming, Standing, StartAt},
        subscription::Subscription,
    },
    domain::{
        hole::{self, HoleReason},
        supervision::SupervisionKind,
    },
};

impl Reader {
    /// Nothing has come since the broker was queried, and it has responded: all that it can deliver is here. Whether that is all
    /// that there is shows a look at the stream's last chunk, once for each number of messages that it is said to hold.
    pub(super) async fn fell_quiet(
        &mut self,
        subscription: &Subscription,
        queried_at: Instant,
        standing: Standing,
    ) -> Result<Option<Ended>, BrokerError> {
        let messages = match standing {
            Standing::Counted(messages) => messages,
            Standing::Committed(chunk) => return self.proved_by(subscription, queried_at, chunk).await,
            Standing::Unknown => return Ok(None),
        };
        if self.tail.is_unread() && self.look_again_at <= Instant::now() {
            self.tail.look_again();
        }
        if self.tail.needs_look(messages) {
            let came = match self.unless_drained(subscription.first_at(StartAt::Last)).await {
                Ok(Ok(last)) => last.is_some(),
                // The subscription comes to it too.
                Ok(Err(BrokerError::Unreadable(_))) => false,
                Ok(Err(error)) => return Err(error),
                Err(ended) => return Ok(Some(ended)),
            };
            self.look_again_at = Instant::now() + hole::LOOK_AGAIN;
            if self.tail.looked(messages, came) {
                let next = self.intake.expected();
                let cause = format!("{} Found at the stream's end, from offset {next} on", HoleReason::UNREAD_TAIL);
                self.parts.log.note(Note::new(&self.name, SupervisionKind::Unread).cause(cause));
            }
        }
        if !self.tail.is_unread() {
            self.parts.progress.proved_quiet(queried_at.into_std());
        }
        Ok(None)
    }

    /// The same by the broker's own word on what it has committed.
    async fn proved_by(
        &mut self,
        subscription: &Subscription,
        queried_at: Instant,
        committed: Option<i64>,
    ) -> Result<Option<Ended>, BrokerError> {
        let looked = subscription.is_read_to(self.intake.expected(), committed);
        match self.unless_drained(looked).await {
            Ok(is_read) => {
                if is_read? {
                    self.parts.progress.proved_quiet(queried_at.into_std());
                }
                Ok(None)
            }
            Err(ended) => Ok(Some(ended)),
        }
    }

    /// Takes a delivery in. What is missing before a message may have been dropped by the stream, which does not wait for who
    /// reads it, or left out by the broker. Then the batch at hand ends there.
    pub(super) async fn accept(&mut self, subscription: &Subscription, incoming: Incoming) -> Result<(), BrokerError> {
        let (expected, found) = (self.intake.expected(), incoming.message.offset);
        if incoming.begins > expected
            && let Some(why) = subscription.hole(expected, found).await?
        {
            self.behind_hole = Some((incoming, why));
            return Ok(());
        }
        self.take(incoming);
        Ok(())
    }
}
