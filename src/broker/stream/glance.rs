//! Glancing at streams by the stream protocol: what each has first from somewhere on.

use std::time::Duration;

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};

use super::{chunk::Chunk, source::Source};
use crate::broker::{
    BrokerError,
    incoming::{Seen, StartAt},
    streams::Streams,
};

/// What exists comes soon; longer is waited for in vain.
const COMES_WITHIN: Duration = Duration::from_secs(3);

/// Each glance has a connection of its own: the members of streams are on different nodes.
pub struct StreamGlance {
    streams: Streams,
}

impl StreamGlance {
    pub fn new(streams: &Streams) -> Self {
        Self { streams: streams.clone() }
    }

    /// The first message of a partition's stream from somewhere on; none where nothing comes.
    pub async fn first(&self, partition: u16, from: StartAt) -> Result<Option<Seen>, BrokerError> {
        let stream = self.streams.broker.topology().stream_of(partition);
        let source = Source::open(&self.streams, stream, "glance").await?;
        let seen = first_of(&source, from).await;
        source.close().await;
        seen
    }
}

async fn first_of(source: &Source, from: StartAt) -> Result<Option<Seen>, BrokerError> {
    let (id, mut chunks) = source.connection.subscribe(&source.stream, from, 1).await?;
    let least = if let StartAt::Offset(offset) = from { offset } else { 0 };
    while let Some(bytes) = next(source, &mut chunks).await? {
        let chunk = Chunk::parse(bytes).map_err(|error| BrokerError::Damaged(error.to_string()))?;
        if let Some(record) = chunk.records_from(least).next() {
            let published_at = record.published_at.or(chunk.timestamp());
            return Ok(Some(Seen { offset: record.offset, published_at }));
        }
        source.connection.credit(id, 1);
    }
    Ok(None)
}

async fn next(source: &Source, chunks: &mut mpsc::UnboundedReceiver<Bytes>) -> Result<Option<Bytes>, BrokerError> {
    match timeout(COMES_WITHIN, chunks.recv()).await {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(source.connection.ended()),
        Err(_) => Ok(None),
    }
}
