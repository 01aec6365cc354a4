//! A consumer and nodes that do what a real broker cannot be brought to do.

mod members;
mod node;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::time::timeout;

use self::node::{Node, PASSWORD, chunk, frame, text};
use super::{frames::key, subscription::StreamSubscription};
use crate::{
    broker::{
        BrokerError,
        incoming::{Standing, StartAt},
        streams::Streams,
    },
    config::{Broker, Secret, Settings},
    domain::hole::HoleReason,
};

fn streams(url: String, change: impl FnOnce(&mut Broker)) -> Streams {
    let mut broker = Settings::from_variables([].into()).unwrap().broker;
    broker.stream_url = Secret::new(url);
    change(&mut broker);
    Streams::new(&broker)
}

fn url(node: &Node) -> String {
    format!("rabbitmq-stream://user:{PASSWORD}@{}:{}", node.endpoint.host, node.endpoint.port)
}

async fn subscribe(streams: &Streams, offset: i64) -> Result<StreamSubscription, BrokerError> {
    StreamSubscription::open(streams, streams.opening(0, StartAt::Offset(offset))).await
}

async fn error_of(subscription: &mut StreamSubscription) -> BrokerError {
    let next = timeout(Duration::from_secs(10), subscription.next());
    match next.await.unwrap() {
        Ok(incoming) => panic!("offset {} came", incoming.message.offset),
        Err(error) => error,
    }
}

/// Offsets of the next messages.
async fn offsets(subscription: &mut StreamSubscription, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        let next = timeout(Duration::from_secs(10), subscription.next());
        offsets.push(next.await.unwrap().unwrap().message.offset);
    }
    offsets
}

#[tokio::test]
async fn what_lies_before_the_offset_is_passed_over() {
    let node = Node::start().await;
    node.script().chunks = [chunk(0, &[b"a", b"b", b"c"]), chunk(3, &[b"d"]), chunk(9, &[b"e"])].into();
    let mut subscription = subscribe(&streams(url(&node), |_| {}), 1).await.unwrap();
    let first = subscription.next().await.unwrap().message;
    assert_eq!((first.offset, &first.body[..]), (1, &b"b"[..]));
    assert_eq!(first.published_at.unwrap().timestamp_millis(), 1_700_000_000_000, "the chunk's time");
    assert_eq!(offsets(&mut subscription, 3).await, [2, 3, 9]);
    subscription.close().await;
    assert_eq!(node.count(key::CLOSE), 1);
}

#[tokio::test]
async fn a_damaged_chunk_is_named_and_never_passed_over() {
    let node = Node::start().await;
    let mut damaged = chunk(1, &[b"bad"]);
    *damaged.last_mut().unwrap() ^= 1;
    node.script().chunks = [chunk(0, &[b"a"]), damaged, chunk(2, &[b"c"])].into();
    let mut subscription = subscribe(&streams(url(&node), |_| {}), 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 1).await, [0]);
    let error = error_of(&mut subscription).await;
    assert!(matches!(error, BrokerError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("chunk 1: the CRC"), "{error}");
}

#[tokio::test]
async fn a_chunk_without_credit_ends_the_connection() {
    let node = Node::start().await;
    {
        let mut script = node.script();
        script.ignores_credit = true;
        script.chunks = (0..400).map(|offset| chunk(offset, &[b"x"])).collect();
    }
    let mut subscription = subscribe(&streams(url(&node), |_| {}), 0).await.unwrap();
    let error = loop {
        match timeout(Duration::from_secs(10), subscription.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_transient() && error.to_string().contains("no credit"), "{error}");
}

#[tokio::test]
async fn reading_waits_for_memory_without_losing_anything() {
    let node = Node::start().await;
    let large = vec![b'x'; 300 * 1024];
    node.script().chunks = (0..12).map(|offset| chunk(offset, &[&large])).collect();
    let streams = streams(url(&node), |broker| broker.read_ahead_bytes = 1 << 20);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    let mut held = vec![subscription.next().await.unwrap()];
    // What is held is counted, whether or not it was taken.
    while let Ok(next) = timeout(Duration::from_millis(300), subscription.next()).await {
        held.push(next.unwrap());
    }
    assert!((2..=3).contains(&held.len()), "{} of 300 KiB each are in 1 MiB", held.len());
    assert!(node.script().delivered <= held.len() + 1, "{} were requested", node.script().delivered);
    let mut next = i64::try_from(held.len()).unwrap();
    drop(held);
    while next < 12 {
        assert_eq!(offsets(&mut subscription, 1).await, [next]);
        next += 1;
    }
}

#[tokio::test]
async fn a_stream_is_looked_at_while_memory_is_short() {
    let node = Node::start().await;
    let large = vec![b'x'; 700 * 1024];
    // Behind a small one several are requested: the connection waits for what the second holds.
    node.script().chunks = [chunk(0, &[b"a"]), chunk(1, &[&large]), chunk(2, &[&large])].into();
    (node.script().committed, node.script().last) = (0, Some(chunk(2, &[b"c"])));
    let streams = streams(url(&node), |broker| broker.read_ahead_bytes = 1 << 20);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    let held = [subscription.next().await.unwrap(), subscription.next().await.unwrap()];
    let since = Instant::now();
    assert_eq!(subscription.hole(-5).await.unwrap(), Some(HoleReason::Dropped), "the stream begins behind it");
    assert_eq!(subscription.last().await.unwrap(), Some(2));
    assert!(!subscription.is_read_to(2, Some(2)).await.unwrap(), "a chunk is about to come");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    drop(held);
}

#[tokio::test]
async fn a_hole_is_judged_by_the_node_that_is_read() {
    let (leader, replica, other) = (Node::start().await, Node::start().await, Node::start().await);
    let large = vec![b'x'; 700 * 1024];
    for node in [&leader, &replica] {
        let mut script = node.script();
        (script.leader, script.replicas) = (Some(leader.endpoint.clone()), vec![replica.endpoint.clone()]);
    }
    {
        let mut script = replica.script();
        script.chunks = [chunk(0, &[b"a"]), chunk(1, &[&large]), chunk(2, &[&large])].into();
        script.committed = 0;
    }
    let streams = streams(url(&leader), |broker| broker.read_ahead_bytes = 1 << 20);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    let held = [subscription.next().await.unwrap(), subscription.next().await.unwrap()];
    // One that has dropped nothing yet knows nothing of what the first one has dropped.
    leader.script().replicas = vec![other.endpoint.clone()];
    assert_eq!(subscription.hole(-5).await.unwrap(), Some(HoleReason::Dropped));
    drop(held);
}

#[tokio::test]
async fn who_waits_for_room_holds_none() {
    let node = Node::start().await;
    let large = vec![b'x'; 600 * 1024];
    node.script().chunks = (0..3).map(|offset| chunk(offset, &[&large])).collect();
    let streams = streams(url(&node), |broker| broker.read_ahead_bytes = 1 << 20);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    let held = subscription.next().await.unwrap();
    let more = timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(more.is_err(), "there is no room for another");
    drop(held);
    // Nobody takes messages of it meanwhile, as where its partition cannot store any.
    let since = Instant::now();
    while !streams.read_ahead.has_room(1 << 20) {
        assert!(since.elapsed() < Duration::from_secs(5), "what others wait for is held");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(offsets(&mut subscription, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_chunk_larger_than_the_memory_comes() {
    let node = Node::start().await;
    let large = vec![b'x'; 3 << 20];
    node.script().chunks = (0..4).map(|offset| chunk(offset, &[&large])).collect();
    let streams = streams(url(&node), |broker| broker.read_ahead_bytes = 1 << 20);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 4).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn heartbeats_are_sent_while_nobody_reads() {
    let node = Node::start().await;
    node.script().chunks = (0..300).map(|offset| chunk(offset, &[b"x"])).collect();
    let streams = streams(url(&node) + "?heartbeat=1", |_| {});
    let subscription = subscribe(&streams, 0).await.unwrap();
    let before = node.count(key::HEARTBEAT);
    let since = Instant::now();
    while node.count(key::HEARTBEAT) < before + 3 {
        assert!(since.elapsed() < Duration::from_secs(10), "no heartbeat comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(subscription);
}

#[tokio::test]
async fn a_broker_without_heartbeat_is_given_up() {
    let node = Node::start().await;
    let streams = streams(url(&node) + "?heartbeat=1", |_| {});
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    let error = error_of(&mut subscription).await;
    assert!(error.is_transient() && error.to_string().contains("nothing was heard for 2 s"), "{error}");
}

#[tokio::test]
async fn what_the_broker_says_ends_the_subscription() {
    let close = [&7_u32.to_be_bytes()[..], &[0, 1], &text("maintenance")].concat();
    let moved = [&[0, 6][..], &text("s")].concat();
    for (said, words) in [
        (frame(key::CLOSE, &close), "maintenance"),
        (frame(key::METADATA_UPDATE, &moved), "stream not available"),
        (frame(key::CREDIT | 0x8000, &[0, 4, 0]), "refused credit"),
        (frame(0x8000 | key::STREAM_STATS, &[0; 2_000_000]), "at most 1048576"),
        (frame(key::CLOSE, &[0; 3]), "shorter than what it holds"),
    ] {
        let node = Node::start().await;
        node.script().says = vec![said];
        let mut subscription = subscribe(&streams(url(&node), |_| {}), 0).await.unwrap();
        let error = error_of(&mut subscription).await;
        assert!(error.is_transient() && error.to_string().contains(words), "{error}");
        if words == "maintenance" {
            let since = Instant::now();
            while node.count(key::CLOSE | 0x8000) == 0 {
                assert!(since.elapsed() < Duration::from_secs(10), "the broker's close has no response");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_permanent_and_not_shown() {
    let node = Node::start().await;
    let wrong = url(&node).replace(PASSWORD, "opensesame");
    let error = subscribe(&streams(wrong, |_| {}), 0).await.err().unwrap();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(error.to_string(), "broker: login: authentication failure (0x08)");
    assert!(!format!("{error:?}").contains("opensesame"));
}

#[tokio::test]
async fn a_login_that_is_too_long_is_permanent() {
    let node = Node::start().await;
    let long = url(&node).replace(PASSWORD, &"x".repeat(9000));
    let error = subscribe(&streams(long, |_| {}), 0).await.err().unwrap();
    assert!(!error.is_transient() && error.to_string().contains("was to be sent"), "{error}");
    assert_eq!(node.count(key::SASL_AUTHENTICATE), 0);
}

#[tokio::test]
async fn a_node_that_answers_nothing_is_an_error() {
    let node = Node::start().await;
    let streams = streams(url(&node), |broker| broker.connect_timeout_ms = 300);
    let subscription = subscribe(&streams, 0).await.unwrap();
    node.script().is_silent = true;
    assert!(matches!(subscription.standing().await, Err(BrokerError::Timeout(_))));
}

#[tokio::test]
async fn a_chunk_that_comes_slowly_is_no_silence() {
    let node = Node::start().await;
    let slow = frame(key::DELIVER, &[&[0][..], &chunk(0, &[b"a"])].concat());
    node.script().says = vec![slow[..slow.len() - 1].to_vec()];
    let streams = streams(url(&node), |broker| broker.connect_timeout_ms = 300);
    let mut subscription = subscribe(&streams, 0).await.unwrap();
    node.script().is_silent = true;
    let more = timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(more.is_err(), "it is not there yet");
    assert_eq!(subscription.standing().await.unwrap(), Standing::Unknown, "the response comes behind it");
    assert!(!subscription.is_read_to(0, Some(0)).await.unwrap());
}

#[tokio::test]
async fn less_committed_than_was_read_proves_nothing() {
    let node = Node::start().await;
    node.script().chunks = [chunk(0, &[b"a"]), chunk(4, &[b"b", b"c"])].into();
    let mut subscription = subscribe(&streams(url(&node), |_| {}), 0).await.unwrap();
    assert_eq!(offsets(&mut subscription, 3).await, [0, 4, 5]);
    for (committed, is_read) in [(None, false), (Some(0), false), (Some(4), true)] {
        assert_eq!(subscription.is_read_to(6, committed).await.unwrap(), is_read, "{committed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a broker sends ends the connection with a reason, in bounded memory.
    #[test]
    fn any_bytes_end_the_connection(bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = Node::start().await;
            // Frames of right and wrong lengths.
            node.script().says = bytes.into_iter().map(|bytes| match bytes.first() {
                Some(first) if first % 2 == 0 => frame(u16::from(first / 8), &bytes),
                _ => bytes,
            }).chain([frame(key::CLOSE, &[&[0; 6][..], &text("the end")].concat())]).collect();
            let mut subscription = subscribe(&streams(url(&node) + "?heartbeat=1", |_| {}), 0).await.unwrap();
            loop {
                if timeout(Duration::from_secs(10), subscription.next()).await.unwrap().is_err() {
                    break;
                }
            }
        });
    }
}
