//! Reading one partition's stream from an offset on, by the stream protocol.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    chunk::{Chunk, Record, Records},
    framing::End,
    source::Source,
    window::Window,
};
use crate::{
    broker::{
        self, BrokerError,
        incoming::{Incoming, Opening, Standing, StartAt},
        streams::Streams,
        topology,
    },
    domain::{batch::Message, hole::HoleReason},
};

/// A subscription on a connection of its own. It ends with its first error: subscribe again.
pub struct StreamSubscription {
    source: Arc<Source>,
    streams: Streams,
    id: u8,
    chunks: mpsc::UnboundedReceiver<Bytes>,
    /// The chunk that is being read.
    at_hand: Option<AtHand>,
    /// What lies before it is passed over: the broker begins with the whole chunk that it is in.
    from: i64,
    /// The newest chunk that came, by its first offset.
    last_chunk: Option<i64>,
    window: Window,
    /// Memory that is waited for before there is credit again. By a task, which returns it at once: here it would hold what others wait
    /// for until the next message is requested.
    room: JoinSet<()>,
}

struct AtHand {
    records: Records,
    timestamp: Option<DateTime<Utc>>,
    bytes: Bytes,
}

impl StreamSubscription {
    /// Subscribes. At an offset that is no longer kept the broker starts at the oldest that it has.
    ///
    /// # Errors
    /// The broker is away or refuses, or the stream does not exist.
    pub async fn open(streams: &Streams, opening: Opening) -> Result<Self, BrokerError> {
        let Opening { partition, from, declare, .. } = opening;
        if declare {
            self::declare(streams, partition).await?;
        }
        let stream = streams.broker.topology().stream_of(partition);
        let source = Source::open(streams, stream, &format!("consumer/{partition}")).await?;
        // More is given as chunks come: the broker waits for half of what a subscription begins with.
        let (id, chunks) = source.connection.subscribe(&source.stream, from, 1).await?;
        Ok(Self {
            source: Arc::new(source),
            streams: streams.clone(),
            id,
            chunks,
            at_hand: None,
            from: if let StartAt::Offset(offset) = from { offset } else { 0 },
            last_chunk: None,
            window: Window::new(streams.read_ahead.bytes()),
            room: JoinSet::new(),
        })
    }

    /// Waits for the next message. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Result<Incoming, BrokerError> {
        loop {
            if let Some(incoming) = self.next_at_hand() {
                return Ok(incoming);
            }
            tokio::select! {
                chunk = self.chunks.recv() => self.begin(chunk.ok_or_else(|| self.source.connection.ended())?)?,
                Some(_) = self.room.join_next() => self.give(1),
            }
        }
    }

    /// The next message if it is here already.
    pub fn next_now(&mut self) -> Option<Result<Incoming, BrokerError>> {
        loop {
            if let Some(incoming) = self.next_at_hand() {
                return Some(Ok(incoming));
            }
            match self.chunks.try_recv() {
                Ok(chunk) => {
                    if let Err(error) = self.begin(chunk) {
                        return Some(Err(error));
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) => return None,
                Err(mpsc::error::TryRecvError::Disconnected) => return Some(Err(self.source.connection.ended())),
            }
        }
    }

    /// Takes a chunk, and gives credit for more.
    fn begin(&mut self, bytes: Bytes) -> Result<(), BrokerError> {
        let chunk = Chunk::parse(bytes.clone()).map_err(End::from)?;
        self.last_chunk = Some(chunk.first_offset());
        self.window.took(bytes.len());
        let due = self.window.due();
        let memory = &self.streams.read_ahead;
        if memory.has_room(self.window.expected()) {
            self.give(due);
        } else if self.window.is_empty() {
            let (memory, expected) = (memory.clone(), self.window.expected());
            self.room.spawn(async move { drop(memory.take(expected).await) });
        }
        self.at_hand = Some(AtHand { records: chunk.records_from(self.from), timestamp: chunk.timestamp(), bytes });
        Ok(())
    }

    fn give(&mut self, credit: u16) {
        if credit > 0 {
            self.source.connection.credit(self.id, credit);
            self.window.gave(credit);
        }
    }

    fn next_at_hand(&mut self) -> Option<Incoming> {
        let at_hand = self.at_hand.as_mut()?;
        match at_hand.records.next() {
            Some(record) => Some(at_hand.incoming(record)),
            None => {
                self.at_hand = None;
                None
            }
        }
    }

    /// How far the stream goes, as its leader says.
    pub fn standing(&self) -> impl Future<Output = Result<Standing, BrokerError>> + Send + 'static {
        let source = Arc::clone(&self.source);
        async move { source.standing().await }
    }

    /// Whether everything before `expected` is all that the stream has, whose last committed chunk is that one.
    pub async fn is_read_to(&self, expected: i64, committed: Option<i64>) -> Result<bool, BrokerError> {
        if self.last_chunk > committed {
            // Only what is committed comes: whoever says so does not know the stream.
            return Ok(false);
        }
        self.source.is_read_to(expected, committed).await
    }

    /// What the offsets from `expected` to before the next message mean.
    pub async fn hole(&self, expected: i64) -> Result<Option<HoleReason>, BrokerError> {
        self.source.hole(expected).await
    }

    /// The offset of the first message from somewhere on; `None` where nothing comes for a while.
    pub async fn first_at(&self, from: StartAt) -> Result<Option<i64>, BrokerError> {
        Ok(self.source.look(from).await?.map(|chunk| chunk.first_offset))
    }

    /// The offset of the stream's last message.
    pub async fn last(&self) -> Result<Option<i64>, BrokerError> {
        Ok(self.source.look(StartAt::Last).await?.map(|chunk| chunk.next_offset() - 1))
    }

    pub async fn close(self) {
        if let Some(source) = Arc::into_inner(self.source) {
            source.close().await;
        }
    }
}

impl AtHand {
    fn incoming(&self, record: Record) -> Incoming {
        let Record { begins, offset, content, published_at, producer } = record;
        let published_at = published_at.or(self.timestamp);
        let message = match content {
            Ok(body) => Message::new(offset, published_at, self.own(body)),
            Err(unreadable) => Message {
                unreadable: Some(unreadable.reason),
                ..Message::new(offset, published_at, self.own(unreadable.bytes))
            },
        };
        // There is nothing to acknowledge.
        Incoming { tag: 0, begins, message, producer }
    }

    /// Bytes of the chunk itself, whose memory is counted; others are a part of what was decompressed, which a small message must
    /// not hold.
    fn own(&self, bytes: Bytes) -> Bytes {
        if self.bytes.as_ptr_range().contains(&bytes.as_ptr()) { bytes } else { Bytes::copy_from_slice(&bytes) }
    }
}

/// Declares the stream by AMQP, as producers do.
async fn declare(streams: &Streams, partition: u16) -> Result<(), BrokerError> {
    let broker = &streams.broker;
    let connection = broker::connect(broker, &format!("consumer/{partition}")).await?;
    let declared = topology::declare_for(&connection, broker, partition).await;
    broker::close(&connection, broker).await;
    declared
}
