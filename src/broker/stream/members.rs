//! Which node a stream is read from: a replica where there is one, so that the leader has its hands free for producers.
//!
//! The address of the settings leads to a node, or by a load balancer to any of them. Each advertises itself by an address of
//! its own. One that has no member of the stream cannot deliver it.

use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::{
    address::Address,
    connection::{ConnectOptions, Connection},
    frames::responses::{Endpoint, Members},
};
use crate::broker::{BrokerError, streams::Streams};

/// Which member is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'n> {
    /// One to read from.
    Reader,
    /// The one that knows how far the stream goes.
    Leader,
    /// That one, whatever it is.
    Node(&'n Endpoint),
}

/// Connections by a load balancer until one leads to the right node, for each node that there is, at most.
const ROUNDS: usize = 5;
/// After so many timeouts of a connection only the last of the nodes is still tried, since the caller has a deadline.
const TIMEOUTS: u32 = 3;

/// Connects to a member of a stream.
///
/// # Errors
/// The broker is away or refuses, or the stream does not exist.
pub async fn reach(streams: &Streams, stream: &str, role: Role<'_>, purpose: &str) -> Result<Connection, BrokerError> {
    let address = Address::of(&streams.broker)?;
    let memory = &streams.read_ahead;
    let options = ConnectOptions { address: &address, purpose, memory, timeout: streams.broker.connect_timeout() };
    let until = Instant::now() + streams.broker.connect_timeout() * TIMEOUTS;
    let mut connection = Connection::open(&address.endpoint, options).await?;
    let found = connection.members(stream).await;
    let members = match found {
        Ok(members) => members,
        Err(error) => {
            connection.close().await;
            return Err(error);
        }
    };
    let wanted = wanted(&members, role);
    let Some(best) = wanted.first() else { return Ok(connection) };
    let is_replica = |node: &Endpoint| members.replicas.contains(node);
    // Any replica is as good as the best.
    let is_as_good = role == Role::Reader && is_replica(best) && is_replica(&connection.node);
    if *best == connection.node || is_as_good {
        return Ok(connection);
    }
    if streams.broker.stream_load_balanced {
        for _ in 0..ROUNDS * (members.replicas.len() + 1) {
            if Instant::now() > until {
                break;
            }
            connection.close().await;
            connection = Connection::open(&address.endpoint, options).await?;
            if wanted.contains(&connection.node) {
                return Ok(connection);
            }
        }
        connection.close().await;
        let nodes = wanted.iter().map(|node| format!("{}:{}", node.host, node.port)).collect::<Vec<_>>().join(", ");
        return Err(BrokerError::Interrupted(format!("looking for {stream}: no connection led to any of {nodes}")));
    }
    let mut away = BrokerError::Silent;
    for node in &wanted {
        if *node == connection.node {
            return Ok(connection);
        }
        if Instant::now() > until && Some(node) != wanted.last() {
            continue;
        }
        match Connection::open(node, options).await {
            Ok(direct) => {
                connection.close().await;
                return Ok(direct);
            }
            Err(error) => away = error,
        }
    }
    connection.close().await;
    Err(away)
}

/// The nodes to connect to, the best first. One that can be reached and has the stream is better than none.
fn wanted(members: &Members, role: Role<'_>) -> Vec<Endpoint> {
    let mut nodes = match role {
        Role::Reader => members.replicas.clone(),
        Role::Leader => Vec::new(),
        Role::Node(node) => return vec![node.clone()],
    };
    nodes.shuffle(&mut rand::rng());
    nodes.extend(members.leader.clone());
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_and_leaders_queried() {
        let node = |host: &str| Endpoint { host: host.to_owned(), port: 5552 };
        let alone = Members { code: 1, leader: Some(node("a")), replicas: Vec::new() };
        assert_eq!(wanted(&alone, Role::Reader), [node("a")]);
        let members = Members { replicas: vec![node("b"), node("c")], ..alone };
        assert_eq!(wanted(&members, Role::Leader), [node("a")]);
        let mut readers = wanted(&members, Role::Reader);
        assert_eq!(readers.pop(), Some(node("a")), "the leader, where no replica can be reached");
        readers.sort_by(|a, b| a.host.cmp(&b.host));
        assert_eq!(readers, [node("b"), node("c")]);
        assert!(wanted(&Members::default(), Role::Reader).is_empty(), "the broker will say why");
    }
}
