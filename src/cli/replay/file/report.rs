//! What was published of a file.

use std::{io::BufRead, path::Path, time::Duration};

use serde::Serialize;

use super::{lines::Lines, print};
use crate::{cli::stream::Sender, config::Broker};

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    file: String,
    stream: String,
    pub partitions: u16,
    /// Lines with something in them, as far as the file was read.
    lines: u64,
    empty: u64,
    /// Of `lines`, those that earlier runs published.
    skipped: u64,
    /// Number of the first line that this run published; absent from the first run.
    resumed_from: Option<u64>,
    /// Lines of this run that the broker has confirmed.
    published: u64,
    /// Copies that were sent after a lost connection.
    resent: u64,
    /// Lines of this run that may be in the stream or not. The next run sends them again.
    unconfirmed: u64,
    /// All of the file was published.
    pub finished: bool,
    seconds: f64,
    messages_per_second: u64,
}

impl Report {
    pub fn new(file: &Path, broker: &Broker) -> Self {
        Self {
            file: file.display().to_string(),
            stream: broker.stream.clone(),
            partitions: broker.partitions,
            ..Self::default()
        }
    }

    /// There was nothing to do.
    pub fn finished_before(&mut self, lines: u64) {
        (self.lines, self.skipped, self.finished) = (lines, lines, true);
    }

    /// The lines of earlier runs were read over.
    pub fn resumed<R: BufRead>(&mut self, lines: &Lines<R>, skipped: u64) {
        self.skipped = skipped;
        self.resumed_from = (skipped > 0).then(|| lines.number() + 1);
    }

    pub fn count<R: BufRead>(&mut self, lines: &Lines<R>, sender: &Sender, elapsed: Duration) {
        self.lines = lines.number() - lines.empty();
        self.empty = lines.empty();
        (self.published, self.resent, self.unconfirmed) = (sender.confirmed(), sender.resent(), sender.unconfirmed());
        self.seconds = elapsed.as_secs_f64();
        let rate = u128::from(self.published) * 1_000_000_000 / elapsed.as_nanos().max(1);
        self.messages_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
    }

    pub fn write(&self, json: bool) -> anyhow::Result<()> {
        print(json, self, || self.text())
    }

    fn text(&self) -> String {
        let Self { published, stream, seconds, messages_per_second, lines, empty, skipped, resent, .. } = self;
        let mut text = format!(
            "published   {published} messages to {stream} in {seconds:.1} s, {messages_per_second} a second\n\
             lines       {lines}, not counting {empty} empty ones\n\
             skipped     {skipped}, published before\n\
             resent      {resent}\n"
        );
        if self.unconfirmed > 0 {
            text += &format!("unconfirmed {}: they may be in the stream or not\n", self.unconfirmed);
        }
        text + if self.finished { "finished    yes\n" } else { "finished    no\n" }
    }
}
