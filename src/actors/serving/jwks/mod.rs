//! Jwks: keeps the keys that tokens are checked by as their source says.
//! In: Refresh from http; End. Out: the keys, into the ring that the verifiers look into.
//! Failure: source away, or no key set there → the keys stay and grow old, it is tried again; verifiers refuse keys
//!          that are older than auth.jwks_stale_seconds.
//! Bound: one reading at a time, of MAX_BYTES, within READ_WITHIN; WAITING wait for it.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::{Duration, Instant},
};

use actix::prelude::*;
use reqwest::redirect::Policy;
use tokio::sync::oneshot;

use crate::{
    actors::supervision::{
        backoff::Backoff,
        liveness::Working,
        vitals::{OneAtATime as _, Vitals, supervised},
    },
    auth::{
        jwks::{KeySet, NoKeySet},
        key_ring::KeyRing,
    },
    config::{Auth, Secret},
    telemetry::{
        log::in_full,
        readiness::{JWKS, Readiness},
    },
};

/// Largest key set: some hundred keys.
const MAX_BYTES: usize = 256 * 1024;
/// Longest that the URL may take to respond.
pub const READ_WITHIN: Duration = Duration::from_secs(5);
/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two readings that requests cause: anybody can make up the name of a key.
const REQUESTED_EVERY: Duration = Duration::from_secs(10);
/// Requests that may wait for a reading; further ones are judged by the keys that there are.
const WAITING: usize = 1024;
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30) };

pub struct Jwks {
    /// Absent while it is read.
    source: Option<Source>,
    ring: KeyRing,
    /// From one reading to the next.
    interval: Duration,
    next: Option<SpawnHandle>,
    failures: u32,
    requested_at: Option<Instant>,
    waiting: Vec<oneshot::Sender<()>>,
    readiness: Readiness,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct JwksParts {
    pub settings: Auth,
    pub ring: KeyRing,
    pub readiness: Readiness,
}

impl Jwks {
    pub fn new(parts: JwksParts, vitals: Vitals) -> Self {
        let JwksParts { settings, ring, readiness } = parts;
        let from_file = settings.jwks_url.is_empty();
        let interval = if from_file { LOOK_EVERY } else { settings.jwks_refresh() };
        let source = if from_file { Place::File(settings.jwks_file) } else { Place::Url(settings.jwks_url) };
        Self {
            source: Some(Source { place: source, last: None }),
            ring,
            interval,
            next: None,
            failures: 0,
            requested_at: None,
            waiting: Vec::new(),
            readiness,
            vitals,
        }
    }

    /// Reads the source now, unless that is under way.
    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        if let Some(next) = self.next.take() {
            ctx.cancel_future(next);
        }
        self.begin(
            ctx,
            async |source: &mut Source, _: &Working| source.read().await,
            |actor, result, ctx| {
                let delay = actor.heed(result);
                actor.next = Some(ctx.run_later(delay, |actor, ctx| {
                    actor.next = None;
                    actor.read(ctx);
                }));
                for waiting in actor.waiting.drain(..) {
                    // Who has gone away meanwhile does not mind.
                    let _ = waiting.send(());
                }
            },
        );
    }

    /// Takes over what was read, and says when to read again.
    fn heed(&mut self, result: Result<Option<KeySet>, SourceError>) -> Duration {
        match result {
            Ok(read) => {
                self.failures = 0;
                match read {
                    Some(keys) => {
                        tracing::info!(keys = keys.len(), "the key set was read");
                        self.ring.put(keys);
                    }
                    None => self.ring.confirm(),
                }
                // The issuer may remove its keys, so they are dropped; but none of its tokens works then.
                if self.ring.is_empty() {
                    self.readiness.down(JWKS, "the key set has no key that can be used");
                } else {
                    self.readiness.up(JWKS);
                }
                self.interval
            }
            Err(error) => {
                let delay = BACKOFF.delay(self.failures).min(self.interval);
                tracing::warn!(%error, ?delay, "the key set could not be read");
                self.readiness.down(JWKS, error.to_string());
                self.failures = self.failures.saturating_add(1);
                delay
            }
        }
    }
}

supervised!(Jwks, source: Source);

impl Actor for Jwks {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.read(ctx);
    }
}

/// A token names a key that is not there: has the source got it? The result comes when it was read, or at once where that was
/// requested a moment ago.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Refresh;

impl Handler<Refresh> for Jwks {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Refresh, ctx: &mut Self::Context) -> Self::Result {
        if self.source.is_some() {
            if self.requested_at.is_some_and(|at| at.elapsed() < REQUESTED_EVERY) {
                return Box::pin(async {});
            }
            self.requested_at = Some(Instant::now());
            self.read(ctx);
        }
        if self.waiting.len() >= WAITING {
            return Box::pin(async {});
        }
        let (sender, read) = oneshot::channel();
        self.waiting.push(sender);
        Box::pin(async move {
            // Closed: the actor has ended, and another one reads.
            let _ = read.await;
        })
    }
}

/// Why there is no new key set. For operators: without the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("auth.jwks_url: {0}")]
    Unreachable(String),
    /// A redirection too: keys are taken from where they were said to be, and from nowhere else.
    #[error("auth.jwks_url: responded with {0}")]
    Status(u16),
    #[error("auth.jwks_file: {0}")]
    File(#[from] io::Error),
    #[error("the key set has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("what was read {0}")]
    NoKeySet(#[from] NoKeySet),
}

impl From<reqwest::Error> for SourceError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(in_full(&error.without_url()))
    }
}

enum Place {
    Url(Secret),
    File(PathBuf),
}

struct Source {
    place: Place,
    /// What it said last.
    last: Option<Vec<u8>>,
}

impl Source {
    /// None: it says what it said.
    async fn read(&mut self) -> Result<Option<KeySet>, SourceError> {
        let text = match &self.place {
            Place::Url(url) => fetch(url).await?,
            Place::File(path) => load(path)?,
        };
        if self.last.as_ref() == Some(&text) {
            return Ok(None);
        }
        let keys = KeySet::read(&text)?;
        self.last = Some(text);
        Ok(Some(keys))
    }
}

async fn fetch(url: &Secret) -> Result<Vec<u8>, SourceError> {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(READ_WITHIN).build()?;
    let mut response = client.get(url.expose()).header("accept", "application/json").send().await?;
    if !response.status().is_success() {
        return Err(SourceError::Status(response.status().as_u16()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if text.len() + chunk.len() > MAX_BYTES {
            return Err(SourceError::TooLarge);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// Blocks for a moment a thread that has nothing else to do.
fn load(path: &PathBuf) -> Result<Vec<u8>, SourceError> {
    let mut text = Vec::new();
    let most = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    File::open(path)?.take(most).read_to_end(&mut text)?;
    if text.len() > MAX_BYTES { Err(SourceError::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
