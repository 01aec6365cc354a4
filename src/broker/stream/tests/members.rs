//! Which node is read, and which one is believed of how far the stream goes.

use std::time::{Duration, Instant};

use super::{
    node::{Node, chunk},
    offsets, streams, subscribe, url,
};
use crate::broker::{
    incoming::{Standing, StartAt},
    stream::{
        frames::{key, responses::Endpoint},
        source::Source,
    },
};

#[tokio::test]
async fn a_replica_is_read_and_the_leader_decides_quiet() {
    let (leader, replica) = (Node::start().await, Node::start().await);
    for node in [&leader, &replica] {
        let mut script = node.script();
        (script.leader, script.replicas) = (Some(leader.endpoint.clone()), vec![replica.endpoint.clone()]);
    }
    replica.script().chunks = [chunk(0, &[b"a", b"b", b"c", b"d"])].into();
    (leader.script().committed, replica.script().committed) = (9, 0);
    let streams = streams(url(&leader), |_| {});
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 4).await, [0, 1, 2, 3], "by the replica");
    let standing = subscription.standing().await.unwrap();
    assert_eq!(standing, Standing::Committed(Some(9)), "a replica that lags says too little");
    // Another one leads now: what was the leader proves nothing.
    leader.script().leader = Some(Endpoint { host: "127.0.0.1".to_owned(), port: 1 });
    assert_eq!(subscription.standing().await.unwrap(), Standing::Unknown);
    // Reading goes on.
    replica.script().chunks = [chunk(4, &[b"e"])].into();
    subscription.first_at(StartAt::First).await.unwrap();
    leader.script().leader = Some(leader.endpoint.clone());
    assert_eq!(subscription.standing().await.unwrap(), Standing::Unknown, "it is tried again after a while");
}

#[tokio::test]
async fn the_leader_is_read_where_no_replica_can_be_reached() {
    let leader = Node::start().await;
    {
        let mut script = leader.script();
        script.replicas = vec![Endpoint { host: "127.0.0.1".to_owned(), port: 1 }];
        script.chunks = [chunk(0, &[b"a"])].into();
    }
    let mut subscription = subscribe(&streams(url(&leader), |_| {}), 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 1).await, [0]);
}

#[tokio::test]
async fn replicas_that_say_nothing_are_not_all_waited_for() {
    // They accept connections, as their operating systems do.
    let silent: Vec<_> = (0..40).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let endpoint = |listener: &std::net::TcpListener| {
        let address = listener.local_addr().unwrap();
        Endpoint { host: address.ip().to_string(), port: address.port() }
    };
    let leader = Node::start().await;
    leader.script().replicas = silent.iter().map(endpoint).collect();
    leader.script().chunks = [chunk(0, &[b"a"])].into();
    let streams = streams(url(&leader), |broker| broker.connect_timeout_ms = 200);
    let since = Instant::now();
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 1).await, [0]);
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_load_balancer_is_tried_until_it_leads_to_a_member() {
    let balancer = Node::start().await;
    let node = |host: &str| Endpoint { host: host.to_owned(), port: 5552 };
    {
        let mut script = balancer.script();
        (script.leader, script.replicas) = (Some(node("a")), vec![node("b")]);
        script.advertised = [node("c"), node("d"), node("c"), node("b")].into();
        script.chunks = [chunk(0, &[b"a"])].into();
    }
    let streams = streams(url(&balancer), |broker| broker.stream_load_balanced = true);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    assert_eq!(balancer.count(key::OPEN), 4);
    assert_eq!(offsets(&mut subscription, 1).await, [0]);
    balancer.script().advertised = std::iter::repeat_n(node("c"), 100).collect();
    let error = subscribe(&streams, 0).await.err().unwrap();
    assert!(
        error.is_transient() && error.to_string().contains("no connection led to any of b:5552, a:5552"),
        "{error}"
    );
    assert!(balancer.count(key::OPEN) < 20);
}

#[tokio::test]
async fn the_brokers_own_record_at_the_end_is_looked_at_once() {
    let node = Node::start().await;
    let source = Source::open(&streams(url(&node), |_| {}), "s".to_owned(), "tests").await.unwrap();
    assert!(source.is_read_to(0, None).await.unwrap(), "an empty stream");
    assert!(source.is_read_to(5, Some(4)).await.unwrap(), "the last chunk begins before");
    assert_eq!(node.count(key::SUBSCRIBE), 0);
    (node.script().committed, node.script().last) = (7, Some(chunk(2, &[b"a", b"b", b"c"])));
    for _ in 0..3 {
        assert!(source.is_read_to(5, Some(7)).await.unwrap(), "behind it there is no message");
    }
    assert_eq!((node.count(key::SUBSCRIBE), node.count(key::UNSUBSCRIBE)), (1, 1));
    node.script().last = Some(chunk(8, &[b"d"]));
    assert!(!source.is_read_to(5, Some(8)).await.unwrap(), "a message is still to come");
}

#[tokio::test]
async fn a_leader_proves_nothing_until_all_it_has_is_committed() {
    let node = Node::start().await;
    let source = Source::open(&streams(url(&node), |_| {}), "s".to_owned(), "tests").await.unwrap();
    for (committed, last, standing) in [
        (-1, -1, Standing::Committed(None)),
        // It was just elected, and does not know that its predecessor had committed what it has.
        (-1, 9, Standing::Unknown),
        (4, 9, Standing::Unknown),
        (9, 9, Standing::Committed(Some(9))),
    ] {
        (node.script().committed, node.script().uncommitted) = (committed, Some(last));
        assert_eq!(source.standing().await.unwrap(), standing, "{committed} of {last}");
    }
}

#[tokio::test]
async fn a_last_chunk_that_cannot_be_seen_proves_nothing() {
    let (leader, replica) = (Node::start().await, Node::start().await);
    for node in [&leader, &replica] {
        let mut script = node.script();
        (script.leader, script.replicas) = (Some(leader.endpoint.clone()), vec![replica.endpoint.clone()]);
        script.committed = 9;
    }
    let streams = streams(url(&leader), |broker| broker.connect_timeout_ms = 300);
    let source = Source::open(&streams, "s".to_owned(), "tests").await.unwrap();
    assert_eq!(source.standing().await.unwrap(), Standing::Committed(Some(9)));
    leader.script().is_silent = true;
    assert!(!source.is_read_to(5, Some(9)).await.unwrap(), "reading goes on by the replica");
}
