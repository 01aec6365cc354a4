//! The batch transaction, taken by itself: what is stored, what is not, and what a second attempt does.

use std::time::Duration;

use analytics_service::{
    domain::{
        batch::{Batch, Message, RawBatch, SplitRules, split},
        event::{Event, Rules, Status},
        ledger::Counts,
        money::Cents,
        partition::home_partition,
        window::Window,
    },
    store::{
        StoreError,
        ingest::{
            commit::{Committed, commit},
            lease::{self, Identity},
            partitions::{Claim, claim},
            work::{CommitRules, Kind},
        },
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{World, number};

/// Refusals that these tests take for poison.
const MAX_REFUSED: usize = 10;

/// A partition of a world, and what its batches are made by.
pub struct CommitFixture {
    pub world: World,
    pub conn: PgConnection,
    pub claim: Claim,
    window: Window,
}

impl CommitFixture {
    pub async fn new(partitions: u16) -> Self {
        let world = World::new(partitions).await;
        let mut conn = world.connect().await;
        let claim = hold(&mut conn, &world, 0).await;
        let mut window = Window::new(1 << 20, TimeDelta::hours(24), claim.now);
        window.loaded(None);
        Self { world, conn, claim, window }
    }

    /// A process that has just begun: it knows nothing of what was stored.
    pub fn again(self, claim: Claim) -> Self {
        let window = Window::new(1 << 20, TimeDelta::hours(24), DateTime::<Utc>::MAX_UTC);
        Self { claim, window, ..self }
    }

    /// The partition's next batch.
    pub fn batch(&mut self, bodies: impl IntoIterator<Item = Vec<u8>>) -> Batch {
        let first_offset = self.claim.next_offset;
        let messages: Vec<Message> = bodies
            .into_iter()
            .zip(first_offset..)
            .map(|(body, offset)| Message::new(offset, Some(self.claim.now), body))
            .collect();
        let raw = RawBatch { id: Uuid::now_v7(), first_offset, missing: None, messages };
        let rules = SplitRules {
            event: Rules { now: self.claim.now, max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(400) },
            reached: None,
            late_after: TimeDelta::hours(1),
            window: TimeDelta::hours(24),
            partition: self.claim.partition,
            partitions: self.world.settings.broker.partitions,
        };
        let batch = split(raw, &rules, &mut self.window, self.claim.foreign_writes);
        self.claim.next_offset = batch.raw.next_offset();
        batch
    }

    pub async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let rules = CommitRules {
            kind: Kind::Live,
            window: TimeDelta::hours(24),
            max_refused: MAX_REFUSED,
            retries: 0,
            started_at: self.claim.now,
            span: None,
            carried: self.world.settings.attribution.carried(),
        };
        commit(&mut self.conn, &self.claim, batch, &rules).await
    }

    async fn scalar(&mut self, statement: &'static str) -> i64 {
        number(&mut self.conn, statement).await
    }
}

/// Takes a partition for a process without a name from its holder, and claims it.
pub async fn hold(conn: &mut PgConnection, world: &World, partition: u16) -> Claim {
    let topology = world.settings.broker.topology();
    lease::enrol(conn, &topology).await.unwrap();
    let holdings = lease::holdings(conn, &topology).await.unwrap();
    let seen = holdings.iter().find(|holding| holding.partition == partition).unwrap();
    if seen.owner.is_none() {
        assert!(lease::take(conn, &topology, seen, Uuid::nil()).await.unwrap());
    }
    claim(conn, topology, partition, Uuid::nil()).await.unwrap().unwrap()
}

pub fn event(org: u128, event_id: u128, occurred_at: DateTime<Utc>) -> Event {
    Event {
        event_id: Uuid::from_u128(event_id),
        org_id: Uuid::from_u128(org),
        model_id: Uuid::from_u128(7),
        actor_id: None,
        client_id: None,
        occurred_at: DateTime::from_timestamp_micros(occurred_at.timestamp_micros()).unwrap(),
        status: Status::Success,
        error_code: None,
        latency_ms: 12,
        input_tokens: 3,
        output_tokens: 4,
        cost_estimate_cents: Cents::from_ten_thousandths(12_345),
        metadata: None,
    }
}

pub fn body(event: &Event) -> Vec<u8> {
    serde_json::to_vec(event).unwrap()
}

fn counts(received: u64, stored: u64, duplicates: u64, conflicts: u64, rejected: u64) -> Counts {
    Counts { received, stored, duplicates, conflicts, rejected, late: 0 }
}

#[tokio::test]
async fn a_batch_with_lost_response_is_stored_once() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, now)), b"no event".to_vec()]);
    let first = fixture.commit(&batch).await.unwrap();
    assert_eq!((first.counts, first.again), (counts(2, 1, 0, 0, 1), false));
    let second = fixture.commit(&batch).await.unwrap();
    assert_eq!((second.counts, second.next_offset, second.again), (first.counts, first.next_offset, true));
    assert!(first.clock.is_some() && second.clock.is_none(), "the time of the first attempt says nothing of now");
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.usage_events").await, 1);
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.dead_letters").await, 1);
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.rollup_pending").await, 1);
}

#[tokio::test]
async fn a_process_that_lost_its_partition_cannot_commit() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, now))]);
    hold(&mut fixture.conn, &fixture.world, 0).await;
    let error = fixture.commit(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { ours: 2, found: 3, .. }), "{error}");
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.usage_events").await, 0);
}

#[tokio::test]
async fn a_fenced_commit_names_epoch_and_holder() {
    let mut fixture = CommitFixture::new(1).await;
    let batch = fixture.batch([body(&event(1, 1, fixture.claim.now))]);
    let topology = fixture.world.settings.broker.topology();
    hold(&mut fixture.conn, &fixture.world, 0).await;
    let ended = fixture.commit(&batch).await.unwrap_err().to_string();
    assert!(ended.contains(&Uuid::nil().to_string()), "of a process without a row the id: {ended}");
    let me = Identity { id: Uuid::nil(), name: "elsewhere/7".into() };
    lease::renew(&mut fixture.conn, &me, Duration::from_secs(60), &topology).await.unwrap();
    let error = fixture.commit(&batch).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Fenced { partition: 0, ours: 2, found: 3, holder: Some(name) } if name == "elsewhere/7"),
        "{error}"
    );
    assert!(error.to_string().starts_with("partition 0 is in epoch 3, held by elsewhere/7, not in 2"), "{error}");
    lease::give_back(&mut fixture.conn, &topology, 0, Uuid::nil()).await.unwrap();
    let error = fixture.commit(&batch).await.unwrap_err().to_string();
    assert!(error.contains("held by nobody"), "{error}");
}

#[tokio::test]
async fn a_wrong_window_does_not_change_results() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let first = fixture.batch([body(&event(1, 1, now)), body(&event(1, 2, now))]);
    fixture.commit(&first).await.unwrap();
    // A window that has forgotten everything and does not know it.
    fixture.window = Window::new(1 << 20, TimeDelta::hours(24), now);
    fixture.window.loaded(None);
    let again = fixture.batch([body(&event(1, 3, now)), body(&event(1, 2, now))]);
    assert_eq!(again.fresh.len(), 2);
    assert_eq!(fixture.commit(&again).await.unwrap().counts, counts(2, 1, 1, 0, 0));
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.usage_events").await, 3);
}

#[tokio::test]
async fn a_resend_beyond_the_window_is_new() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let first = fixture.batch([body(&event(1, 1, now - TimeDelta::hours(30)))]);
    assert_eq!(fixture.commit(&first).await.unwrap().counts.stored, 1);
    let at_its_edge = event(1, 1, now - TimeDelta::hours(6));
    let beyond = event(1, 1, now - TimeDelta::hours(6) + TimeDelta::microseconds(1));
    let batch = fixture.batch([body(&at_its_edge)]);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts, counts(1, 0, 1, 1, 0));
    let batch = fixture.batch([body(&beyond)]);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 1);
}

#[tokio::test]
async fn conflicting_duplicates_keep_the_first_content() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let first = event(1, 1, now);
    let batch = fixture.batch([body(&first)]);
    fixture.commit(&batch).await.unwrap();
    let metadata = [("region".to_owned(), "eu".to_owned())].into();
    let dearer = Event { cost_estimate_cents: Cents::from_ten_thousandths(99), ..first.clone() };
    let tagged = Event { metadata: Some(metadata), ..first.clone() };
    let batch = fixture.batch([body(&dearer), body(&first), body(&dearer), body(&tagged), body(&first)]);
    let committed = fixture.commit(&batch).await.unwrap();
    assert_eq!(
        committed.counts,
        counts(5, 0, 5, 3, 0),
        "each is compared with what is stored, not with its neighbours"
    );
    let cost: Decimal =
        sqlx::query_scalar("SELECT cost_cents FROM analytics.usage_events").fetch_one(&mut fixture.conn).await.unwrap();
    assert_eq!(cost.to_string(), "1.2345");
}

#[tokio::test]
async fn a_refused_event_is_isolated_from_its_batch() {
    let mut fixture = CommitFixture::new(1).await;
    refuse_latency(&fixture.world).await;
    let now = fixture.claim.now;
    let poison = |id| Event { latency_ms: 4242, ..event(1, id, now) };
    // Its repeat with other content is judged by itself, since what it repeats was not stored.
    let repeat = Event { latency_ms: 1, ..poison(5) };
    let bodies = (0..20).map(|id| if id == 5 { body(&poison(5)) } else { body(&event(1, id, now)) });
    let batch = fixture.batch(bodies.chain([body(&repeat)]).collect::<Vec<_>>());
    let committed = fixture.commit(&batch).await.unwrap();
    assert_eq!((committed.counts, committed.refused), (counts(21, 20, 0, 0, 1), 1));
    let (reasons, org): (Vec<String>, Uuid) = sqlx::query_as("SELECT reasons, org_id FROM analytics.dead_letters")
        .fetch_one(&mut fixture.conn)
        .await
        .unwrap();
    assert_eq!(
        (reasons.as_slice(), org),
        (&["event: refused by the database, SQLSTATE 23514".to_owned()][..], Uuid::from_u128(1))
    );
}

#[tokio::test]
async fn a_refusing_database_is_no_poison_message() {
    let mut fixture = CommitFixture::new(1).await;
    refuse_latency(&fixture.world).await;
    let now = fixture.claim.now;
    // The day's chunk is there: else each attempt would make it and take it back.
    let first = fixture.batch([body(&event(2, 1, now))]);
    fixture.commit(&first).await.unwrap();
    let bodies: Vec<_> = (0..20).map(|id| body(&Event { latency_ms: 4242, ..event(1, id, now) })).collect();
    let batch = fixture.batch(bodies);
    let error = fixture.commit(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Unfit(_)), "{error}");
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.dead_letters").await, 0);
    assert_eq!(fixture.scalar("SELECT count(*) FROM analytics.ingestion_batches").await, 1);
}

async fn refuse_latency(world: &World) {
    let constraint = "ALTER TABLE analytics.usage_events ADD CONSTRAINT no_4242 CHECK (latency_ms <> 4242)";
    sqlx::query(constraint).execute(&mut world.connect_as_owner().await).await.unwrap();
}

#[tokio::test]
async fn a_misrouted_event_is_counted_once() {
    let mut fixture = CommitFixture::new(2).await;
    let org = (1..).find(|org| home_partition(Uuid::from_u128(*org), 2) == 1).unwrap();
    let mut home_conn = fixture.world.connect().await;
    let home = hold(&mut home_conn, &fixture.world, 1).await;
    let now = fixture.claim.now;

    let stray = fixture.batch([body(&event(org, 1, now))]);
    assert_eq!(stray.suspects.len(), 1);
    assert_eq!(fixture.commit(&stray).await.unwrap().counts.stored, 1);

    // Its home partition's window was loaded before, and calls a resend with another time certainly new.
    std::mem::swap(&mut fixture.conn, &mut home_conn);
    fixture.claim = home;
    fixture.window = Window::new(1 << 20, TimeDelta::hours(24), now);
    fixture.window.loaded(None);
    let resend = fixture.batch([body(&event(org, 1, now - TimeDelta::minutes(1)))]);
    assert_eq!(resend.fresh.len(), 1);
    let committed = fixture.commit(&resend).await.unwrap();
    assert_eq!(committed.counts, counts(1, 0, 1, 1, 0));
    assert_ne!(committed.foreign_writes, resend.foreign_writes, "dedupe learns that its window misses something");
}

#[tokio::test]
async fn events_are_stored_exactly_as_sent() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let extremes = [0, 1, 9_999, 10_000, 12_345_678, 99_999_999_999_999, 100_000_000_000_000];
    let events: Vec<Event> = extremes
        .into_iter()
        .zip(0..)
        .map(|(units, id)| Event {
            actor_id: Some(Uuid::from_u128(u128::MAX)),
            client_id: Some("key \u{1F511} \"quoted\"".to_owned()),
            error_code: Some(String::new()),
            status: Status::Throttled,
            latency_ms: 86_400_000,
            input_tokens: 1_000_000_000,
            cost_estimate_cents: Cents::from_ten_thousandths(units),
            metadata: Some([("\u{e9}\\".to_owned(), "\t\"".to_owned())].into()),
            ..event(1, id, now - TimeDelta::days(399))
        })
        .collect();
    let batch = fixture.batch(events.iter().map(body).collect::<Vec<_>>());
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 7);
    type Row = (DateTime<Utc>, Decimal, Uuid, String, String, String, i32, i32, String);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT occurred_at, cost_cents, actor_id, client_id, error_code, status::text, latency_ms, input_tokens,
                metadata ->> E'\\u00e9\\\\' FROM analytics.usage_events ORDER BY event_id",
    )
    .fetch_all(&mut fixture.conn)
    .await
    .unwrap();
    for (row, event) in rows.iter().zip(&events) {
        assert_eq!(row.0, event.occurred_at);
        assert_eq!(Cents::from_text(&row.1.to_string()), Ok(event.cost_estimate_cents));
        assert_eq!(
            (Some(row.2), Some(&row.3), Some(&row.4)),
            (event.actor_id, event.client_id.as_ref(), event.error_code.as_ref())
        );
        assert_eq!((row.5.as_str(), row.6, row.7, row.8.as_str()), ("throttled", 86_400_000, 1_000_000_000, "\t\""));
    }
}
