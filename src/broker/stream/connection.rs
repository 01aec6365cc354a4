//! A connection of the stream protocol: requests, their responses, and what is delivered.
//!
//! A task of its own reads the socket and answers heartbeats, so that who is slow to take chunks does not lose the connection. It
//! reads a chunk when there is memory for it, and as many as it was given credit for.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    address::Address,
    chunk::Header,
    frames::{
        code, key, requests,
        responses::{Endpoint, Fields, Inbound, Members, read},
    },
    framing::{Delivery, End, FrameReader},
    handshake::{self, Opened},
    link::{Delivered, Link, PendingResponse},
    read_ahead::ReadAhead,
    refusal::{accepted, refused},
    transport::Sink,
};
use crate::broker::{BrokerError, incoming::StartAt};

/// A frame that is no chunk is small: the largest that is expected names the members of one stream.
const MOST_FRAME: usize = 1024 * 1024;
/// The largest chunk that is read. The broker writes at most 4,096 messages at a time, and one of more than 64 KiB is no event:
/// what is larger than all of them together is damaged, or meant to exhaust the memory.
pub const MOST_CHUNK: usize = 4096 * 64 * 1024;
/// For the response to the broker's own `Close`.
const CLOSING: Duration = Duration::from_secs(1);

/// How far a stream goes, as a member of it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The first chunk that it has; none where it has none.
    pub first: Option<i64>,
    /// The last chunk that it has; none where it has none, or does not say so.
    last: Option<i64>,
    /// The last chunk that a majority of the members has, as far as it knows; none where it knows of none.
    pub committed: Option<i64>,
}

impl Stats {
    /// Whether all that it has is known to be committed. A leader that was just elected does not know yet how much its
    /// predecessor had committed, and says less.
    pub fn is_all_committed(self) -> bool {
        self.last.or(self.first) <= self.committed
    }
}

pub struct Connection {
    link: Arc<Link>,
    /// The node that it leads to, as it advertises itself.
    pub node: Endpoint,
    timeout: Duration,
    task: AbortHandle,
}

/// Who a connection is for, and what it may use.
#[derive(Clone, Copy)]
pub struct ConnectOptions<'a> {
    pub address: &'a Address,
    /// Part of the name that the broker's operators see.
    pub purpose: &'a str,
    pub memory: &'a ReadAhead,
    /// Of the whole, and of each response.
    pub timeout: Duration,
}

impl Connection {
    /// # Errors
    /// Nobody is there, or the broker refuses.
    pub async fn open(to: &Endpoint, options: ConnectOptions<'_>) -> Result<Self, BrokerError> {
        let ConnectOptions { address, purpose, memory, timeout: within } = options;
        let opening = timeout(within, handshake::open(address, to, purpose));
        let Opened { reader, sink, node, heartbeat, next } =
            opening.await.map_err(|_| BrokerError::Timeout(within))??;
        let (outbox, frames) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(outbox, next));
        let (shared, memory) = (Arc::clone(&link), memory.clone());
        let task = tokio::spawn(async move {
            let mut transmitting = pin!(transmit(sink, frames, heartbeat));
            let end = tokio::select! {
                end = receive(reader, &shared, &memory) => end,
                end = &mut transmitting => end,
            };
            let end = end.err().unwrap_or(End::Closed);
            let last_words = matches!(end, End::ClosedByBroker { .. });
            shared.end(end);
            if last_words {
                let _ = timeout(CLOSING, transmitting).await;
            }
        });
        Ok(Self { link, node: node.unwrap_or_else(|| to.clone()), timeout: within, task: task.abort_handle() })
    }

    /// Subscribes from somewhere on, with credit for so many chunks. Chunks come until the connection ends.
    pub async fn subscribe(
        &self,
        stream: &str,
        from: StartAt,
        credit: u16,
    ) -> Result<(u8, mpsc::UnboundedReceiver<Bytes>), BrokerError> {
        // Before the response chunks may come.
        let (id, chunks) = self.link.receive_chunks(credit).ok_or_else(no_id)?;
        match self.begin(id, stream, from, credit).await {
            Ok(()) => Ok((id, chunks)),
            Err(error) => {
                self.link.stop_receiving(id);
                Err(error)
            }
        }
    }

    async fn begin(&self, id: u8, stream: &str, from: StartAt, credit: u16) -> Result<(), BrokerError> {
        let what = format!("subscribing to {stream}");
        self.request(key::SUBSCRIBE, &what, |request| requests::subscribe(request, id, stream, from, credit)).await?;
        Ok(())
    }

    pub fn credit(&self, subscription: u8, more: u16) {
        self.link.credit(subscription, more, requests::credit(subscription, more));
    }

    /// Ends a subscription; what still comes of it is passed over.
    pub async fn unsubscribe(&self, subscription: u8) -> Result<(), BrokerError> {
        self.link.stop_receiving(subscription);
        self.request(key::UNSUBSCRIBE, "unsubscribing", |id| requests::unsubscribe(id, subscription)).await?;
        Ok(())
    }

    /// The header of the first chunk of messages from somewhere on, which is not read; none where nothing comes.
    pub async fn look(&self, stream: &str, from: StartAt) -> Result<Option<Header>, BrokerError> {
        if self.stats(stream).await?.committed.is_none() {
            return Ok(None);
        }
        let (id, header) = self.link.receive_header().ok_or_else(no_id)?;
        let begun = self.begin(id, stream, from, 1).await;
        let seen = match begun {
            Ok(()) => timeout(self.timeout, header).await,
            Err(error) => {
                self.link.stop_receiving(id);
                return Err(error);
            }
        };
        self.unsubscribe(id).await?;
        match seen {
            Ok(Ok(header)) => Ok(Some(Header::read(&header).map_err(End::from)?)),
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Ok(None),
        }
    }

    pub async fn stats(&self, stream: &str) -> Result<Stats, BrokerError> {
        let what = format!("looking at {stream}");
        let mut fields = self.request(key::STREAM_STATS, &what, |id| requests::stream_stats(id, stream)).await?;
        let found = fields.statistics().map_err(End::from)?;
        // -1 of a stream that is empty.
        let of = |name: &str| found.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
        let known = of("committed_chunk_id").is_some();
        if !known {
            return Err(BrokerError::Permanent(format!("{what}: the broker does not say which chunk is committed")));
        }
        let of = |name: &str| of(name).filter(|value| *value >= 0);
        Ok(Stats { first: of("first_chunk_id"), last: of("last_chunk_id"), committed: of("committed_chunk_id") })
    }

    pub async fn members(&self, stream: &str) -> Result<Members, BrokerError> {
        let response = self.link.request(key::METADATA, |id| requests::metadata(id, stream));
        let members = Fields::of(key::METADATA, self.wait(response).await?).members().map_err(End::from)?;
        if members.code == code::OK {
            Ok(members)
        } else {
            Err(refused(&format!("looking for {stream}"), members.code))
        }
    }

    async fn request(&self, key: u16, what: &str, request: impl FnOnce(u32) -> Vec<u8>) -> Result<Fields, BrokerError> {
        let response = self.link.request(key, request);
        accepted(key, what, self.wait(response).await?)
    }

    async fn wait(&self, response: PendingResponse) -> Result<Bytes, BrokerError> {
        match timeout(self.timeout, response).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Err(BrokerError::Timeout(self.timeout)),
        }
    }

    /// Why nothing comes any more.
    pub fn ended(&self) -> BrokerError {
        self.link.ended().into()
    }

    /// A chunk comes, or is about to come as soon as there is memory for it: nothing else is read meanwhile, however slow the network is.
    pub fn is_at_chunk(&self) -> bool {
        self.chunk_bounds() % 2 == 1
    }

    /// What differs while, and after, a chunk has come.
    pub fn chunk_bounds(&self) -> u64 {
        self.link.chunk_bounds()
    }

    /// Closes without waiting for long: at the end nothing depends on it any more.
    pub async fn close(self) {
        if let Err(error) = self.request(key::CLOSE, "closing", requests::close).await {
            tracing::debug!(%error, "the connection did not close in order");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn no_id() -> BrokerError {
    BrokerError::Permanent("a connection has no more than 256 subscriptions".to_owned())
}

/// Reads what comes until the connection ends.
async fn receive(mut reader: FrameReader, link: &Link, memory: &ReadAhead) -> Result<(), End> {
    loop {
        let head = reader.head().await?;
        if head.key == key::DELIVER {
            let delivery = reader.delivery(head).await?;
            link.passes_chunk_bound();
            deliver(&mut reader, link, memory, delivery).await?;
            link.passes_chunk_bound();
            continue;
        }
        match read(reader.frame(head, MOST_FRAME).await?)? {
            Inbound::Response { key, correlation, body } => link.respond(key, correlation, body),
            Inbound::MetadataUpdate { code } => return Err(End::StreamMoved { code }),
            Inbound::Close { correlation, code, reason } => {
                link.send(requests::closed(correlation));
                return Err(End::ClosedByBroker { code, reason });
            }
            Inbound::CreditRefused { code } => return Err(End::CreditRefused { code }),
            Inbound::Tune { .. } | Inbound::Heartbeat | Inbound::Other => {}
        }
    }
}

async fn deliver(reader: &mut FrameReader, link: &Link, memory: &ReadAhead, delivery: Delivery) -> Result<(), End> {
    let Delivery { subscription, length } = delivery;
    let becomes = link.deliver(subscription)?;
    if let Delivered::PassOver = becomes {
        return reader.discard(length).await;
    }
    let header = reader.peek(length.min(Header::BYTES)).await?;
    if let Delivered::ShowHeader = becomes {
        link.header(subscription, header);
        return reader.discard(length).await;
    }
    if length > MOST_CHUNK {
        let offset = Header::read(&header)?.first_offset.unsigned_abs();
        return Err(End::ChunkTooLarge { offset, length, most: MOST_CHUNK });
    }
    let share = memory.take(length).await;
    let chunk = share.hold(reader.chunk(length).await?);
    link.chunk(subscription, chunk);
    Ok(())
}

/// Sends what is to be sent, and heartbeats where that is nothing.
async fn transmit(
    mut sink: Sink,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
    heartbeat: Duration,
) -> Result<(), End> {
    let mut due = Instant::now() + heartbeat / 2;
    loop {
        let frame = match tokio::time::timeout_at(due, frames.recv()).await {
            Ok(Some(frame)) => frame,
            // Nobody has the connection any more.
            Ok(None) => return Ok(()),
            Err(_) => requests::heartbeat(),
        };
        let silence = heartbeat * 2;
        let writing = async {
            sink.write_all(&frame).await?;
            sink.flush().await
        };
        timeout(silence, writing).await.map_err(|_| End::Silent(silence))??;
        due = Instant::now() + heartbeat / 2;
    }
}
