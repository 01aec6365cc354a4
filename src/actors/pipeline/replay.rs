//! Replay: reads ranges of the partition's stream again, beside the live pipeline.
//! In: End; ranges from the table `replays`. Out: Stored to the rollup.
//! Failure: broker or database away → waits in place and goes on where the last batch ended; a range that cannot be
//!          read → the replay fails with the offset, the next one's turn comes, the partition goes on. An operator may
//!          cancel one: seen before each batch and while nothing comes.
//! Bound: one batch at a time, and so much more that it ends with a row of the ledger.

use std::{ops::Range, time::Duration};

use actix::prelude::*;
use uuid::Uuid;

use crate::{
    actors::{
        pipeline::{
            dedupe::DedupeSettings,
            writer::{Stored, persist},
        },
        supervision::{
            backoff::Backoff,
            liveness::{Liveness, Working},
            vitals::{Supervised as _, Vitals, supervised},
        },
    },
    broker::{
        BrokerError,
        incoming::{Incoming, Opening, StartAt},
        streams::Streams,
        subscription::Subscription,
    },
    config::Settings,
    domain::{
        batch::{Batch, Message, RawBatch, split},
        prefetch::{Prefetch, Verdict},
        repair::Past,
        window::Window,
    },
    store::{
        Session, StoreError,
        clock::DatabaseClock,
        ingest::{
            partitions::Claim,
            repair, replays,
            work::{CommitRules, Kind},
        },
    },
    telemetry::metrics::Metrics,
};

/// How often a new range is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What was read once comes soon; when it does not, the stream's end is looked at.
const COMES_WITHIN: Duration = Duration::from_secs(3);
/// Refusals of one batch that are taken for poison.
const MAX_REFUSED: usize = 500;
/// All that is left to know of a window that knows nothing.
const NO_WINDOW: usize = 1024;

pub struct Replay {
    worker: Option<Worker>,
    vitals: Vitals,
}

pub struct ReplayParts {
    pub settings: Settings,
    pub streams: Streams,
    pub claim: Claim,
    pub clock: DatabaseClock,
    pub rollup: Recipient<Stored>,
    pub metrics: Metrics,
}

impl Replay {
    pub fn new(parts: ReplayParts, vitals: Vitals) -> Self {
        let worker = Worker {
            session: Session::of_batches(parts.settings.database.clone()),
            settings: parts.settings,
            streams: parts.streams,
            claim: parts.claim,
            clock: parts.clock,
            rollup: parts.rollup,
            metrics: parts.metrics,
            liveness: vitals.liveness().clone(),
        };
        Self { worker: Some(worker), vitals }
    }
}

supervised!(Replay);

impl Actor for Replay {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(worker) = self.worker.take() else { return };
        ctx.spawn(worker.run().into_actor(self).map(|error, actor, ctx| {
            actor.end_with(error, ctx);
        }));
    }
}

/// Why a replay cannot go on now.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the partition is in incarnation {0} now: offsets mean other messages")]
    Incarnation(i32),
    /// Requested in an incarnation that this pipeline does not know yet: the next one will.
    #[error("the partition is about to start in incarnation {0}")]
    Ahead(i32),
    #[error("the stream begins at offset {0} now: request a range from there on")]
    Dropped(i64),
    #[error(
        "offset {offset} cannot be read: the broker ends the connection with {words} each time that it comes to it; request \
         ranges that end before it and begin behind it"
    )]
    Unreadable { offset: i64, words: String },
    #[error("offset {offset} cannot be read: {what}")]
    Damaged { offset: i64, what: String },
    /// An operator has cancelled it; its row says so.
    #[error("it was cancelled")]
    Cancelled,
    #[error("the stream ends at offset {0}, which is before the range does: it is not the one that was read")]
    Short(i64),
}

impl ReplayError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Broker(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Ahead(_) => true,
            Self::Incarnation(_)
            | Self::Dropped(_)
            | Self::Unreadable { .. }
            | Self::Damaged { .. }
            | Self::Cancelled
            | Self::Short(_) => false,
        }
    }

    /// It failed at that offset again and again.
    fn given_up(offset: i64, error: BrokerError) -> Self {
        match error {
            BrokerError::Unreadable(words) => Self::Unreadable { offset, words },
            BrokerError::Damaged(what) => Self::Damaged { offset, what },
            other => Self::Broker(other),
        }
    }
}

/// A batch of a range, which may be empty.
struct Gathered {
    raw: RawBatch,
    /// Of its last delivery.
    tag: u64,
    /// Nothing of the range comes after it.
    last: bool,
}

struct Worker {
    session: Session,
    settings: Settings,
    streams: Streams,
    claim: Claim,
    clock: DatabaseClock,
    rollup: Recipient<Stored>,
    metrics: Metrics,
    liveness: Liveness,
}

impl Worker {
    /// Looks for ranges until the partition is another's.
    async fn run(mut self) -> StoreError {
        let mut attempt = 0;
        loop {
            let delay = match self.look().await {
                Ok(()) => {
                    attempt = 0;
                    LOOK_EVERY
                }
                Err(ReplayError::Store(error)) if error.ends_pipeline() => return error,
                Err(error) => {
                    tracing::warn!(partition = self.claim.partition, %error, "replaying waits");
                    attempt += 1;
                    Backoff::DEPENDENCY.delay(attempt)
                }
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// Does the oldest open replay, if there is one.
    async fn look(&mut self) -> Result<(), ReplayError> {
        let Self { session, claim, .. } = self;
        let Some(replay) = session.run(async |conn| replays::next(conn, claim).await).await? else { return Ok(()) };
        let working = self.liveness.work();
        tracing::info!(partition = self.claim.partition, replay = %replay.replay_id, "replaying");
        let error = match self.replay(&replay, &working).await {
            Err(error) if error.is_transient() => return Err(error),
            Err(ReplayError::Store(error)) if error.ends_pipeline() => return Err(error.into()),
            Err(error) => Some(error.to_string()),
            Ok(()) => None,
        };
        tracing::info!(partition = self.claim.partition, replay = %replay.replay_id, error, "replayed");
        let Self { session, claim, .. } = self;
        session.run(async |conn| replays::end(conn, claim, replay.replay_id, error.as_deref()).await).await?;
        Ok(())
    }

    async fn replay(&mut self, replay: &replays::Replay, working: &Working) -> Result<(), ReplayError> {
        if replay.incarnation > self.claim.incarnation {
            return Err(ReplayError::Ahead(replay.incarnation));
        }
        if replay.incarnation < self.claim.incarnation {
            return Err(ReplayError::Incarnation(self.claim.incarnation));
        }
        let mut position = replay.next_offset;
        let mut prefetch = Prefetch::new(self.streams.prefetch(), position);
        let mut attempts = 0;
        loop {
            match self.read(replay, &mut position, &mut prefetch, working).await {
                Err(ReplayError::Broker(error @ (BrokerError::Unreadable(_) | BrokerError::Damaged(_)))) => {
                    if prefetch.failed() == Verdict::GiveUp {
                        return Err(ReplayError::given_up(prefetch.next(), error));
                    }
                    tokio::time::sleep(Backoff::DEPENDENCY.delay(attempts)).await;
                    attempts += 1;
                }
                ended => return ended,
            }
        }
    }

    /// Reads from the position to the end of the range.
    async fn read(
        &mut self,
        replay: &replays::Replay,
        position: &mut i64,
        prefetch: &mut Prefetch,
        working: &Working,
    ) -> Result<(), ReplayError> {
        if *position >= replay.to_offset {
            return Ok(());
        }
        let opening = self.streams.opening(self.claim.partition, StartAt::Offset(*position));
        let opening = Opening { prefetch: prefetch.width(), ..opening };
        let mut subscription = Subscription::open(&self.streams, opening).await?;
        let outcome = async {
            // The broker would begin at what it has first, without a word.
            match subscription.first_at(StartAt::First).await {
                Ok(Some(first)) if first > *position => return Err(ReplayError::Dropped(first)),
                // What is first cannot be read: it is there.
                Ok(_) | Err(BrokerError::Unreadable(_)) => {}
                Err(error) => return Err(error.into()),
            }
            loop {
                self.check_open(replay.replay_id).await?;
                let range = *position..replay.to_offset;
                let Gathered { raw, tag, last } =
                    self.gather(&mut subscription, range, replay.replay_id, prefetch, working).await?;
                let next_offset = raw.next_offset();
                if !raw.messages.is_empty() {
                    self.store(raw, replay.replay_id, working).await?;
                }
                *position = next_offset;
                if last {
                    return Ok(());
                }
                subscription.acknowledge(tag).await?;
            }
        };
        let outcome = outcome.await.map_err(|error| match error {
            ReplayError::Broker(error) => subscription.explain(error).into(),
            other => other,
        });
        subscription.close().await;
        outcome
    }

    /// An operator may have cancelled it.
    async fn check_open(&mut self, replay_id: Uuid) -> Result<(), ReplayError> {
        let replay = self.session.run(async |conn| replays::get(conn, replay_id).await).await?;
        if replay.is_some_and(|replay| replay.state == "open") { Ok(()) } else { Err(ReplayError::Cancelled) }
    }

    /// What the ledger knows of what a batch from there on can reach into.
    async fn past(&mut self, from: i64, most: usize) -> Result<Past, ReplayError> {
        let to = from.saturating_add(i64::try_from(most).unwrap_or(i64::MAX).saturating_mul(2));
        let Self { session, claim, .. } = self;
        Ok(session.run(async |conn| repair::past(conn, claim, (from, to)).await).await?)
    }

    /// The next batch of the range.
    async fn gather(
        &mut self,
        subscription: &mut Subscription,
        range: Range<i64>,
        replay_id: Uuid,
        prefetch: &mut Prefetch,
        working: &Working,
    ) -> Result<Gathered, ReplayError> {
        let limits = self.settings.batch;
        // The broker sends no more than that before it is acknowledged.
        let most = self.streams.sent_ahead(prefetch.width()).min(limits.max_events);
        let raw = RawBatch { id: Uuid::now_v7(), first_offset: range.start, missing: None, messages: Vec::new() };
        let mut gathered = Gathered { raw, tag: 0, last: false };
        let past = self.past(range.start, most).await?;
        let (mut deliveries, mut bytes, mut ended_at, mut whole) = (0, 0, None, false);
        while !gathered.last && !whole {
            working.beat();
            let Ok(incoming) = tokio::time::timeout(COMES_WITHIN, subscription.next()).await else {
                self.check_open(replay_id).await?;
                // The stream may be slow, or end before the range, as the one that was read never does.
                let last = match subscription.last().await {
                    // More than can be read is there.
                    Err(BrokerError::Unreadable(_)) => None,
                    last => last?.filter(|last| last + 1 < range.end),
                };
                match last {
                    // Twice the same: a look may be slow too.
                    Some(at) if last == ended_at => return Err(ReplayError::Short(at)),
                    _ => ended_at = last,
                }
                continue;
            };
            let Incoming { tag, message, .. } = incoming?;
            prefetch.came(message.offset);
            deliveries += 1;
            gathered.tag = tag;
            gathered.last = message.offset + 1 >= range.end;
            // What a row of the ledger misses shows when it is read as a whole.
            let full = deliveries >= most || bytes + message.body.len() >= limits.max_bytes;
            whole = full && past.may_end(message.offset + 1);
            if range.contains(&message.offset) {
                bytes += message.body.len();
                // Held until the batch ends: not with the memory that the next chunk may need.
                let body = bytes::Bytes::copy_from_slice(&message.body);
                gathered.raw.messages.push(Message { body, ..message });
            }
            if deliveries % most == 0 && !whole && !gathered.last {
                subscription.acknowledge(tag).await?;
            }
        }
        Ok(gathered)
    }

    /// Tries until the batch is stored, or until trying is of no use.
    async fn store(&mut self, raw: RawBatch, replay_id: Uuid, working: &Working) -> Result<(), ReplayError> {
        let started_at = self.clock.now();
        // A window that covers nothing: every event is a suspect.
        let mut window =
            Window::new(NO_WINDOW, self.settings.dedupe.window(), chrono::DateTime::<chrono::Utc>::MAX_UTC);
        let rules = DedupeSettings::of(&self.settings).rules(started_at, &self.claim);
        let mut batch: Batch = split(raw, &rules, &mut window, 0);
        // Old messages say nothing about how far the partition is.
        batch.published_to = None;
        let rules = CommitRules {
            kind: Kind::Replay(replay_id),
            window: self.settings.dedupe.window(),
            max_refused: MAX_REFUSED,
            retries: 0,
            started_at,
            span: None,
            carried: self.settings.attribution.carried(),
        };
        let committed = persist(&mut self.session, &self.claim, &batch, rules, (working, &self.metrics)).await?;
        if committed.repaired > 0 {
            let repaired = committed.repaired;
            tracing::warn!(partition = self.claim.partition, repaired, "lost rows of raw events were put back");
        }
        self.metrics.events(self.claim.partition, &committed.counts);
        self.metrics.replayed(self.claim.partition, batch.raw.messages.len());
        self.metrics.normalized(&batch.normalized);
        self.rollup.do_send(Stored);
        Ok(())
    }
}
