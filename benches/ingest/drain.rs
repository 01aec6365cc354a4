//! What the broker can deliver: a reader that takes every message and does nothing with it. By AMQP it acknowledges each 500.

use std::time::Instant;

use analytics_service::broker::{incoming::StartAt, streams::Streams, subscription::Subscription};

use crate::{
    args::{By, Part},
    figures::{Figures, Unit},
    filled::Filled,
    processor::{Servers, of_process},
};

const ACKNOWLEDGE_EVERY: u64 = 500;

pub async fn measure(filled: &Filled, by: By, servers: &Servers, figures: &mut Figures) {
    servers.quiet().await;
    let streams = Streams::new(&filled.settings(by).broker);
    let (own, of_servers) = (of_process(std::process::id()), servers.used());
    let mut subscription = Subscription::open(&streams, streams.opening(0, StartAt::First)).await.unwrap();
    let (mut messages, mut bytes) = (1, subscription.next().await.unwrap().message.body.len());
    let began = Instant::now();
    while messages < filled.events {
        let incoming = subscription.next().await.unwrap();
        bytes += incoming.message.body.len();
        messages += 1;
        if messages % ACKNOWLEDGE_EVERY == 0 {
            subscription.acknowledge(incoming.tag).await.unwrap();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    subscription.close().await;
    assert!(bytes as u64 > messages * 100, "{bytes} bytes in {messages} messages");
    let each = |used: f64| used * 1e6 / messages as f64;
    let name = by.name();
    figures.add(Part::Drain, rate(by), Unit::PerSecond, messages as f64 / seconds);
    let reader = each(of_process(std::process::id()) - own);
    figures.add(Part::Drain, format!("{name}: processor time of the reader, a message"), Unit::Micros, reader);
    if servers.are_known() {
        let broker = each(servers.used().broker - of_servers.broker);
        figures.add(Part::Drain, format!("{name}: processor time of the broker, a message"), Unit::Micros, broker);
    }
}

/// The figure's name.
pub fn rate(by: By) -> String {
    format!("{}: messages that are read and dropped", by.name())
}
