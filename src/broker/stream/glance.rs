//! Glancing at streams by the stream protocol: what each has first from somewhere on.

use super::source::Source;
use crate::broker::{
    BrokerError,
    incoming::{Seen, StartAt},
    streams::Streams,
};

/// Each glance has a connection of its own: the members of streams are on different nodes.
pub struct StreamGlance {
    streams: Streams,
}

impl StreamGlance {
    pub fn new(streams: &Streams) -> Self {
        Self { streams: streams.clone() }
    }

    /// The first message of a partition's stream from somewhere on; none where nothing comes. Of its chunk the header alone is
    /// read, whose time is also what the stream's retention goes by.
    pub async fn first(&self, partition: u16, from: StartAt) -> Result<Option<Seen>, BrokerError> {
        let stream = self.streams.broker.topology().stream_of(partition);
        let source = Source::open(&self.streams, stream, "glance").await?;
        let looked = source.look(from).await;
        source.close().await;
        let least = if let StartAt::Offset(offset) = from { offset } else { 0 };
        Ok(looked?.map(|chunk| Seen { offset: chunk.first_offset.max(least), published_at: chunk.timestamp }))
    }
}
