//! One stream by one connection, and what the broker is queried about it beside reading.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    chunk::Header,
    connection::Connection,
    members::{Role, reach},
};
use crate::{
    broker::{
        BrokerError,
        incoming::{Standing, StartAt},
        streams::Streams,
    },
    domain::hole::HoleReason,
};

/// No chunk.
const NONE: i64 = -1;
/// How soon a connection responds that reads what comes.
const RESPONDS_WITHIN: Duration = Duration::from_secs(1);
/// A leader that could not be reached is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

pub struct Source {
    streams: Streams,
    pub stream: String,
    /// To the member that is read from.
    pub connection: Connection,
    /// To the leader, where that is another one. A replica may lag behind, and would say too little of how far the stream goes.
    leader: Mutex<Leader>,
    /// The last committed chunk, where it is known to be the broker's own.
    own_tail: AtomicI64,
}

/// The connection to the leader, where that is not the one that is read by.
#[derive(Default)]
struct Leader {
    connection: Option<Connection>,
    /// When it is to be tried again, where it could not be reached.
    try_at: Option<Instant>,
}

impl Source {
    pub async fn open(streams: &Streams, stream: String, purpose: &str) -> Result<Self, BrokerError> {
        let connection = reach(streams, &stream, Role::Reader, purpose).await?;
        let leader = Mutex::default();
        Ok(Self { streams: streams.clone(), stream, connection, leader, own_tail: AtomicI64::new(NONE) })
    }

    /// The last committed chunk, by the leader's word. Where that cannot be had, nothing is known.
    pub async fn standing(&self) -> Result<Standing, BrokerError> {
        let mut leader = self.leader.lock().await;
        let by = leader.connection.as_ref().unwrap_or(&self.connection);
        let direct = leader.connection.is_none();
        let bounds = self.connection.chunk_bounds();
        match self.committed(by).await {
            Ok(Some(standing)) => return Ok(standing),
            // The response waits behind a chunk.
            Err(BrokerError::Timeout(_)) if direct && self.came_to_chunk(bounds) => return Ok(Standing::Unknown),
            Err(error) if direct => return Err(error),
            Err(_) | Ok(None) => {}
        }
        leader.connection = None;
        if leader.try_at.is_some_and(|at| at > Instant::now()) {
            return Ok(Standing::Unknown);
        }
        match reach(&self.streams, &self.stream, Role::Leader, "standing").await {
            Ok(connection) => {
                let standing = self.committed(&connection).await.ok().flatten();
                (leader.connection, leader.try_at) = (Some(connection), None);
                Ok(standing.unwrap_or(Standing::Unknown))
            }
            Err(error) => {
                let stream = &self.stream;
                tracing::warn!(stream, %error, "the stream's leader is not reached: nothing proves that all is read");
                leader.try_at = Some(Instant::now() + TRY_AGAIN);
                Ok(Standing::Unknown)
            }
        }
    }

    /// None where that is no connection to the leader. Who is the leader after the response was the leader at it.
    async fn committed(&self, by: &Connection) -> Result<Option<Standing>, BrokerError> {
        let stats = by.stats(&self.stream).await?;
        let members = by.members(&self.stream).await?;
        let standing = if stats.is_all_committed() { Standing::Committed(stats.committed) } else { Standing::Unknown };
        Ok((members.leader.as_ref() == Some(&by.node)).then_some(standing))
    }

    /// Whether everything before `expected` is all that the stream has, whose last committed chunk is that one. It may be the
    /// broker's own record, behind the last message: then what is the last chunk of messages decides.
    pub async fn is_read_to(&self, expected: i64, committed: Option<i64>) -> Result<bool, BrokerError> {
        let Some(committed) = committed.filter(|committed| *committed >= expected) else { return Ok(true) };
        if self.own_tail.load(Ordering::Relaxed) == committed {
            return Ok(true);
        }
        let mut leader = self.leader.lock().await;
        let direct = leader.connection.is_none();
        if direct && self.connection.is_at_chunk() {
            return Ok(false);
        }
        let bounds = self.connection.chunk_bounds();
        let by = leader.connection.as_ref().unwrap_or(&self.connection);
        let last = match by.look(&self.stream, StartAt::Last).await {
            Ok(last) => last,
            // Reading goes on without it.
            Err(_) if !direct => {
                leader.connection = None;
                None
            }
            Err(BrokerError::Timeout(_)) if self.came_to_chunk(bounds) => None,
            Err(error) => return Err(error),
        };
        let read = last.is_some_and(|last| last.next_offset() <= expected);
        if read {
            self.own_tail.store(committed, Ordering::Relaxed);
        }
        Ok(read)
    }

    /// What the offsets from `expected` to before the next message mean: what the stream has dropped, or the broker's own
    /// records, since it delivers every chunk of messages that it has.
    pub async fn hole(&self, expected: i64) -> Result<Option<HoleReason>, BrokerError> {
        let first = match timeout(RESPONDS_WITHIN, self.connection.stats(&self.stream)).await {
            Ok(stats) => stats?.first,
            // The connection may wait for memory, which is held by what waits for this response.
            Err(_) => {
                let beside = self.beside().await?;
                let stats = beside.stats(&self.stream).await;
                beside.close().await;
                stats?.first
            }
        };
        Ok(first.is_some_and(|first| first > expected).then_some(HoleReason::Dropped))
    }

    /// The header of the first chunk of messages from somewhere on.
    pub async fn look(&self, from: StartAt) -> Result<Option<Header>, BrokerError> {
        if !self.connection.is_at_chunk() {
            return self.connection.look(&self.stream, from).await;
        }
        let beside = self.beside().await?;
        let looked = beside.look(&self.stream, from).await;
        beside.close().await;
        looked
    }

    /// Whether a chunk comes, or has come since there were so many bounds of chunks.
    fn came_to_chunk(&self, bounds: u64) -> bool {
        self.connection.is_at_chunk() || self.connection.chunk_bounds() != bounds
    }

    /// Another connection to the member that is read from: others may have dropped less of the stream.
    async fn beside(&self) -> Result<Connection, BrokerError> {
        reach(&self.streams, &self.stream, Role::Node(&self.connection.node), "look").await
    }

    pub async fn close(self) {
        if let Some(leader) = self.leader.into_inner().connection {
            leader.close().await;
        }
        self.connection.close().await;
    }
}
