//! Batches that are read again, taken by themselves: what is distinguished when little of the range is read.

use analytics_service::{
    domain::{
        batch::{Batch, RawBatch},
        event::Event,
    },
    store::ingest::{
        commit::{Committed, commit},
        work::{CommitRules, Kind},
    },
};
use chrono::TimeDelta;
use uuid::Uuid;

use super::{lose, repairs, unequal_batches};
use crate::{
    harness::number,
    store_commit::{CommitFixture, body, event},
};

/// Commits batches of these events as live ones.
async fn live(fixture: &mut CommitFixture, batches: &[&[&Event]]) {
    for events in batches {
        let batch = fixture.batch(events.iter().map(|one| body(one)));
        fixture.commit(&batch).await.unwrap();
    }
}

/// The messages at an offset as a batch that is read again.
fn again(fixture: &mut CommitFixture, first_offset: i64, events: &[&Event]) -> Batch {
    let next = std::mem::replace(&mut fixture.claim.next_offset, first_offset);
    let mut batch = fixture.batch(events.iter().map(|one| body(one)));
    fixture.claim.next_offset = next;
    batch.suspects.splice(0..0, std::mem::take(&mut batch.fresh));
    batch.raw = RawBatch { id: Uuid::now_v7(), ..batch.raw };
    batch
}

async fn commit_again(fixture: &mut CommitFixture, batch: &Batch) -> Committed {
    let rules = CommitRules {
        kind: Kind::Replay(Uuid::nil()),
        window: TimeDelta::hours(24),
        max_refused: 10,
        retries: 0,
        started_at: fixture.claim.now,
        span: None,
        carried: fixture.world.settings.attribution.carried(),
    };
    commit(&mut fixture.conn, &fixture.claim, batch, &rules).await.unwrap()
}

/// What became of messages that are read again: stored, repaired, events in raw events now.
async fn read_again(fixture: &mut CommitFixture, first_offset: i64, events: &[&Event]) -> (u64, usize, i64) {
    let batch = again(fixture, first_offset, events);
    let done = commit_again(fixture, &batch).await;
    (done.counts.stored, done.repaired, number(&mut fixture.conn, "SELECT count(*) FROM analytics.usage_events").await)
}

#[tokio::test]
async fn a_resend_does_not_replace_a_lost_row() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let [a, b, c] = [1, 2, 3].map(|id| event(1, id, now));
    let resend = event(1, 1, now + TimeDelta::minutes(1));
    live(&mut fixture, &[&[&a, &b], &[&resend, &c]]).await;
    lose(&fixture.world, "event_id = '00000000-0000-0000-0000-000000000001'").await;
    // The row of the resend misses nothing.
    assert_eq!(read_again(&mut fixture, 2, &[&resend, &c]).await, (0, 0, 2));
    // It misses an event: half of it does not show which, nor does the whole of it.
    lose(&fixture.world, "event_id = '00000000-0000-0000-0000-000000000003'").await;
    assert_eq!(read_again(&mut fixture, 2, &[&resend]).await, (0, 0, 1));
    assert_eq!(read_again(&mut fixture, 2, &[&resend, &c]).await, (0, 0, 1));
    // The first batch stored everything that it received; then the second is plain.
    assert_eq!(read_again(&mut fixture, 0, &[&a]).await, (0, 1, 2));
    assert_eq!(read_again(&mut fixture, 2, &[&resend, &c]).await, (0, 1, 3));
    assert_eq!(unequal_batches(&mut fixture.conn).await, 0);
}

#[tokio::test]
async fn batches_with_resends_are_repaired_together() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let [a, b, c] = [1, 2, 3].map(|id| event(1, id, now));
    let dearer = Event { latency_ms: 99, ..a.clone() };
    live(&mut fixture, &[&[&a, &b], &[&a, &dearer, &c]]).await;
    lose(&fixture.world, "true").await;
    let batch = again(&mut fixture, 0, &[&a, &b, &a, &dearer, &c]);
    let done = commit_again(&mut fixture, &batch).await;
    assert_eq!((done.repaired, done.counts.stored, done.counts.duplicates, done.counts.conflicts), (3, 0, 5, 1));
    assert_eq!(unequal_batches(&mut fixture.conn).await, 0);
    assert_eq!(repairs(&mut fixture.conn).await, (1, 3));
    // Its answer was lost.
    let second = commit_again(&mut fixture, &batch).await;
    assert!(second.again && second.counts == done.counts);
    assert_eq!(repairs(&mut fixture.conn).await, (1, 3));
    let latencies = "SELECT count(*) FROM analytics.usage_events WHERE latency_ms = 12";
    assert_eq!(number(&mut fixture.conn, latencies).await, 3, "the first content wins");
}

#[tokio::test]
async fn a_repeat_does_not_replace_a_lost_row() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let [a, b] = [1, 2].map(|id| event(1, id, now));
    let dearer = Event { latency_ms: 99, ..a.clone() };
    live(&mut fixture, &[&[&a], &[&a, &dearer, &b]]).await;
    lose(&fixture.world, "true").await;
    // Two are unknown and one is missing; judged by itself afterwards, the repeat would pass for it.
    assert_eq!(read_again(&mut fixture, 1, &[&a, &dearer, &b]).await, (0, 0, 0));
    assert_eq!(read_again(&mut fixture, 0, &[&a, &a, &dearer, &b]).await, (0, 2, 2));
    assert_eq!(unequal_batches(&mut fixture.conn).await, 0);
}

#[tokio::test]
async fn a_whole_row_distinguishes_purged_from_lost() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let [a, b, c] = [1, 2, 3].map(|id| event(1, id, now));
    live(&mut fixture, &[&[&a, &b], &[&c]]).await;
    let purged = "UPDATE analytics.ingestion_batches SET purged = 1 WHERE first_offset = 0";
    sqlx::query(purged).execute(&mut fixture.conn).await.unwrap();
    lose(&fixture.world, "event_id <> '00000000-0000-0000-0000-000000000002'").await;
    assert_eq!(read_again(&mut fixture, 0, &[&a]).await, (0, 0, 1));
    assert_eq!(read_again(&mut fixture, 0, &[&a, &b, &c]).await, (0, 1, 2));
    let missing = "SELECT count(*) FROM analytics.usage_events WHERE event_id = '00000000-0000-0000-0000-000000000003'";
    assert_eq!(number(&mut fixture.conn, missing).await, 1);
    assert_eq!(unequal_batches(&mut fixture.conn).await, 0);
}
