//! Is the stream the one that was read before? The last message that is known is read again and compared.
//!
//! A stream drops its oldest messages when its retention is over. And it can be deleted and recreated under the same
//! name: offsets then mean other messages, and the broker leaves out without a word what lies below the one requested.

use sha2::{Digest, Sha256};
use tokio::time::{Duration, timeout};

use crate::{
    actors::supervision::liveness::Working,
    broker::{
        BrokerError,
        incoming::{Incoming, StartAt},
        subscription::Subscription,
    },
    domain::batch::MessageHash,
};

/// The known message exists, so it comes soon; when it does not, the stream's other end is looked at. Not sooner: the
/// broker reads all that it may send ahead before it sends the first, and the look's response comes behind all of it.
const COMES_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(
        "the stream was recreated: {found}; when that is meant, start a new incarnation by `analytics-service \
         partitions reset`"
    )]
    Remade { found: String },
    /// The broker fails there each time, with one message requested at a time.
    #[error(
        "offset {offset} cannot be read: each time that it comes to it the broker ends the connection with {words}. A message \
         that AMQP 0.9.1 has no form for, such as raw bytes of a stream client or an application property of type uuid, does \
         that. To pass over exactly what cannot be read: `analytics-service partitions skip --partition {partition}`"
    )]
    Unreadable { partition: u16, offset: i64, words: String },
    /// By the stream protocol, by a new connection each time.
    #[error(
        "partition {partition} cannot be read from offset {offset} on: {what}. It was read several times; where the broker's file is \
         damaged, have the node fetch it from another member, or begin behind it by `analytics-service partitions reset`"
    )]
    Damaged { partition: u16, offset: i64, what: String },
}

/// The stream is ours.
pub enum Checked {
    /// The known message was there.
    Same,
    /// The known message and more were dropped; `first` is what the stream has first.
    Gap { first: Incoming },
}

/// Compares the message at `offset` with the one that was read before; the subscription starts at it.
///
/// # Errors
/// `Remade` where something else is in its place.
pub async fn check(
    subscription: &mut Subscription,
    offset: i64,
    known: MessageHash,
    working: &Working,
) -> Result<Checked, StreamError> {
    let mut ended_at = None;
    loop {
        working.beat();
        let Ok(incoming) = timeout(COMES_WITHIN, subscription.next()).await else {
            // The stream may be slow, or end before the message, as ours never does. Looked at twice: a look may be slow
            // too, and see less than there is.
            let last = subscription.last().await?.filter(|last| *last < offset);
            if last.is_some() && last == ended_at {
                let found = last.unwrap_or_default();
                return Err(remade(format!("it ends at offset {found}, and offset {offset} was read before")));
            }
            ended_at = last;
            continue;
        };
        let incoming = incoming?;
        let at = incoming.message.offset;
        // The broker sends whole chunks, which may start before the offset that was requested.
        if at < offset {
            continue;
        }
        if at == offset {
            if MessageHash::from(Sha256::digest(&incoming.message.body)) != known {
                return Err(remade(format!("another message is at offset {offset}")));
            }
            subscription.acknowledge(incoming.tag).await?;
            return Ok(Checked::Same);
        }
        // Streams lose messages from the front alone.
        return match subscription.first_at(StartAt::First).await? {
            Some(first) if first < offset => {
                Err(remade(format!("it has offset {first}, but none at {offset}, which was read before")))
            }
            Some(_) => Ok(Checked::Gap { first: incoming }),
            // No response proves nothing.
            None => Err(BrokerError::Silent.into()),
        };
    }
}

fn remade(found: String) -> StreamError {
    StreamError::Remade { found }
}
