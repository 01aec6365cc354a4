//! Which partition an org's events belong to, and what its stream is called.

use std::io::Cursor;

use uuid::Uuid;

/// Seed of the RabbitMQ stream clients' routing hash.
const ROUTING_SEED: u32 = 104_729;

/// The home partition of an org: murmur3-32 of its lower-case hyphenated form, modulo the number of partitions,
/// as the stream client libraries route.
pub fn home_partition(org_id: Uuid, partitions: u16) -> u16 {
    if partitions <= 1 {
        return 0;
    }
    let mut text = [0u8; uuid::fmt::Hyphenated::LENGTH];
    org_id.hyphenated().encode_lower(&mut text);
    let hash = murmur3::murmur3_32(&mut Cursor::new(&text), ROUTING_SEED).unwrap_or_default();
    u16::try_from(hash % u32::from(partitions)).unwrap_or_default()
}

/// The stream of a partition: the name itself when there is one partition, else `<name>-<partition>`.
pub fn stream_name(base: &str, partition: u16, partitions: u16) -> String {
    if partitions <= 1 { base.to_owned() } else { format!("{base}-{partition}") }
}

/// The partitions that events are spread over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// What producers publish to.
    pub base: String,
    pub partitions: u16,
}

impl Topology {
    /// The stream of a partition; progress, ledger and watermark are kept under its name, since offsets are its own.
    pub fn stream_of(&self, partition: u16) -> String {
        stream_name(&self.base, partition, self.partitions)
    }

    pub fn home_of(&self, org_id: Uuid) -> u16 {
        home_partition(org_id, self.partitions)
    }

    /// All streams, by partition.
    pub fn streams(&self) -> Vec<String> {
        (0..self.partitions).map(|partition| self.stream_of(partition)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_like_the_reference_implementation() {
        // Computed with the Python package mmh3: mmh3.hash(text, 104729, signed=False) % 4.
        for (org, partition) in ROUTES {
            assert_eq!(home_partition(Uuid::parse_str(org).unwrap(), 4), partition, "{org}");
        }
    }

    #[test]
    fn one_partition_is_the_stream_itself() {
        assert_eq!(home_partition(Uuid::from_u128(7), 1), 0);
        assert_eq!(stream_name("analytics.usage.v1", 0, 1), "analytics.usage.v1");
        assert_eq!(stream_name("analytics.usage.v1", 3, 4), "analytics.usage.v1-3");
    }

    const ROUTES: [(&str, u16); 4] = [
        ("00000000-0000-0000-0000-000000000001", 3),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", 0),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", 2),
        ("123e4567-e89b-12d3-a456-426614174000", 1),
    ];
}
