//! Rollup: merges what committed batches add into the hourly and daily rollups, and moves the watermark.
//! In: Stored from the writer and the replay (only wakes it); Drain, End. Out: Merged to freshness.
//! Failure: database away → tries again in place; what is pending stays pending.
//! Bound: one merge at a time, of a limited number of batches.

use std::time::{Duration, Instant};

use actix::prelude::*;
use chrono::DateTime;
use tracing::Span;

use crate::{
    actors::{
        housekeeping::freshness::Merged,
        pipeline::writer::Stored,
        supervision::{
            actor_ref::ActorRef,
            backoff::Backoff,
            exit::Drain,
            liveness::Working,
            position::PartitionPosition,
            vitals::{OneAtATime as _, Supervised as _, Vitals, supervised},
        },
    },
    config,
    store::{
        Session, StoreError,
        ingest::partitions::Claim,
        rollups::merge::{self, MergeRules, PartitionName},
    },
    telemetry::{metrics::Metrics, traces::spans},
};

/// What was published in the last moment may still be on its way when the broker says that nothing is.
const QUIET: Duration = Duration::from_secs(1);
/// How often a caught-up partition's watermark is moved.
const TICK: Duration = Duration::from_secs(1);
/// A pause lasts so many times as long as the merge before it, so that merging takes a third of the time at most: the
/// longer merges take, the more batches the next one folds.
const PAUSE_PER_MERGE: u32 = 2;
/// The same while a backlog is read: what a response says is old then anyway, and each merge costs what reading is short of.
const PAUSE_PER_MERGE_BEHIND: u32 = 4;
/// A partition that lags by more has a backlog.
const BEHIND: Duration = Duration::from_secs(3);
/// While merges are quick, what is committed is merged about a second later at the latest.
const SHORT_PAUSE: Duration = Duration::from_millis(800);
/// A slow merge is followed by a pause of so many times its length. Where another session holds a snapshot, each merge leaves a
/// version of each row for the next one to pass over, so that many merges would make each of them slower still.
const PAUSE_PER_SLOW_MERGE: u32 = 2;
const MAX_PAUSE: Duration = Duration::from_secs(10);

pub struct Rollup {
    merger: Option<Merger>,
    settings: config::Rollups,
    claim: Claim,
    progress: PartitionPosition,
    metrics: Metrics,
    freshness: ActorRef<Merged>,
    /// Something was stored since the last merge began.
    pending: bool,
    /// A merge is under way or scheduled.
    busy: bool,
    failures: u32,
    draining: bool,
    vitals: Vitals,
}

pub struct RollupParts {
    pub database: config::Database,
    pub settings: config::Rollups,
    pub rules: MergeRules,
    pub claim: Claim,
    pub progress: PartitionPosition,
    pub metrics: Metrics,
    pub freshness: ActorRef<Merged>,
}

impl Rollup {
    pub fn new(parts: RollupParts, vitals: Vitals) -> Self {
        let merger = Merger {
            session: Session::of_batches(parts.database),
            claim: parts.claim.clone(),
            progress: parts.progress.clone(),
            rules: parts.rules,
        };
        Self {
            merger: Some(merger),
            settings: parts.settings,
            claim: parts.claim,
            progress: parts.progress,
            metrics: parts.metrics,
            freshness: parts.freshness,
            // What an earlier process left.
            pending: true,
            busy: false,
            failures: 0,
            draining: false,
            vitals,
        }
    }

    /// Merges now, unless a merge is under way.
    fn merge(&mut self, ctx: &mut Context<Self>) {
        if self.is_at_work() {
            return;
        }
        self.busy = true;
        self.pending = false;
        let work = async |merger: &mut Merger, _: &Working| {
            let (started, span) = (Instant::now(), spans::merge(merger.claim.partition));
            let merged = merger.merge().await;
            trace(&span, &merged);
            (merged, started.elapsed())
        };
        self.begin(ctx, work, |actor, (result, took), ctx| actor.merged(result, took, ctx));
    }

    fn merged(&mut self, result: Result<merge::Merged, StoreError>, took: Duration, ctx: &mut Context<Self>) {
        match result {
            Ok(merged) => {
                self.failures = 0;
                // Who drains waits for nothing.
                let behind = merged.lag().is_some_and(|lag| lag > BEHIND);
                let pause = match self.draining {
                    true => Duration::ZERO,
                    false => pause(self.settings.interval(), took, behind),
                };
                self.pending |= merged.more;
                if merged.merge.batches > 0 {
                    self.metrics.merge_took(took);
                }
                report(merged, &self.metrics, &self.freshness);
                if self.draining && !self.pending {
                    ctx.stop();
                    return;
                }
                if self.pending {
                    // Not at once: under load the next merge then folds more batches, and each key is written less often.
                    ctx.run_later(pause, |actor, ctx| actor.merge(ctx));
                } else {
                    self.busy = false;
                }
            }
            Err(error) if !error.is_transient() => {
                self.end_with(error, ctx);
            }
            Err(error) => {
                let delay = Backoff::DEPENDENCY.delay(self.failures);
                tracing::warn!(partition = self.claim.partition, %error, ?delay, "merging waits for the database");
                self.failures += 1;
                self.pending = true;
                // It may have been committed all the same.
                self.freshness.notify(Merged::Unknown);
                ctx.run_later(delay, |actor, ctx| actor.merge(ctx));
            }
        }
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        self.pending = true;
        if !self.busy {
            self.merge(ctx);
        }
    }
}

/// How long after a merge the next one begins.
fn pause(shortest: Duration, took: Duration, behind: bool) -> Duration {
    let times = if behind { PAUSE_PER_MERGE_BEHIND } else { PAUSE_PER_MERGE };
    let short = (took * times).min(SHORT_PAUSE);
    short.max(took * PAUSE_PER_SLOW_MERGE).min(MAX_PAUSE).max(shortest)
}

/// What the span of a merge shows of it. Without a batch that is recorded, nothing is.
pub(in crate::actors) fn trace(span: &Span, merged: &Result<merge::Merged, StoreError>) {
    if let Ok(merged) = merged {
        spans::merged(span, merged.merge.batches, merged.followed.clone());
    }
}

/// Notifies freshness of a merge.
pub(in crate::actors) fn report(merged: merge::Merged, metrics: &Metrics, freshness: &ActorRef<Merged>) {
    if merged.merge.batches == 0 {
        return;
    }
    metrics.rollup_merged(merged.at);
    for waited in &merged.waited {
        metrics.rollup_latency(*waited);
    }
    if let Some(published_to) = merged.merge.published_to.and_then(DateTime::from_timestamp_micros)
        && let Ok(took) = (merged.at - published_to).to_std()
    {
        metrics.end_to_end(took);
    }
    freshness.notify(Merged::Changed(merge::last_events(&merged.merge).into_keys().collect()));
}

supervised!(Rollup, merger: Merger);

impl Actor for Rollup {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.merge(ctx);
        ctx.run_interval(TICK, |actor, ctx| {
            if !actor.busy && actor.progress.caught_up().is_some() {
                actor.merge(ctx);
            }
        });
    }
}

impl Handler<Stored> for Rollup {
    type Result = ();

    fn handle(&mut self, _: Stored, ctx: &mut Self::Context) {
        self.wake(ctx);
    }
}

impl Handler<Drain> for Rollup {
    type Result = ();

    /// Merges all that is pending, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.pending = true;
        // Also where one is scheduled: the pause may be long.
        self.merge(ctx);
    }
}

/// The rollup's own connection, and what it takes to use it.
struct Merger {
    session: Session,
    claim: Claim,
    progress: PartitionPosition,
    rules: MergeRules,
}

impl Merger {
    async fn merge(&mut self) -> Result<merge::Merged, StoreError> {
        let Self { session, claim, progress, rules } = self;
        let partition = PartitionName { stream: &claim.stream, partition: claim.partition, topology: &claim.topology };
        session
            .run(async |conn| {
                let mut merged = merge::merge(conn, partition, *rules).await?;
                // Judged after the clock was read: what came since then cannot be claimed.
                if merged.merge.batches == 0
                    && let Some(ago) = progress.caught_up()
                {
                    let committed = progress.committed_offset();
                    merged.watermark = merge::caught_up(conn, claim, committed, merged.at - ago - QUIET).await?;
                }
                if let Some((watermark, lag)) = merged.watermark.zip(merged.lag()) {
                    progress.lags(lag);
                    progress.complete_to(Some(watermark));
                }
                Ok(merged)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_merges_are_followed_by_longer_pauses() {
        let shortest = Duration::from_millis(50);
        for (took, expected, with_backlog) in [
            (1, 50, 50),
            (100, 200, 400),
            (200, 400, 800),
            (400, 800, 800),
            (500, 1000, 1000),
            (3_000, 6_000, 6_000),
            (20_000, 10_000, 10_000),
        ] {
            for (behind, expected) in [(false, expected), (true, with_backlog)] {
                let pause = pause(shortest, Duration::from_millis(took), behind);
                assert_eq!(pause, Duration::from_millis(expected), "after {took} ms, behind: {behind}");
            }
        }
        let longest = pause(Duration::from_secs(10), Duration::from_millis(1), false);
        assert_eq!(longest, Duration::from_secs(10), "as it is set");
    }
}
