//! Attribution: whatever is grouped and filtered by, the parts are the whole, and the whole is what usage says.

mod changes;
mod damaged;
mod kept;
mod sizes;
mod sums;

use analytics_service::{
    config::Settings,
    domain::{
        attribution::{Attribution, AttributionQuery, Dimension, Filter, KeyTotals, Measures, SetRetention},
        calendar::{Buckets, Granularity},
        event::{Event, Status},
        money::Cents,
        query::UsageQuery,
    },
    store::{
        attribution::{fold, recount as counting, sets, settle},
        read::{ReadError, Reader, ReaderPlan},
        rollups::{
            merge::{PartitionName, merge},
            recount,
            verify::{self, Found},
        },
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    harness::{World, eventually},
    store_commit::{CommitFixture, body},
    store_merge::rules,
};

const SETS: &str = "clientId,modelId; status,errorCode,clientId,modelId; actorId,modelId; meta.te\"am,meta.🦀,modelId";

/// A partition whose batches carry all sets of these tests.
async fn fixture(max_keys: u32) -> CommitFixture {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    want(&mut fixture, max_keys).await;
    fixture
}

async fn want(fixture: &mut CommitFixture, max_keys: u32) {
    let wanted = fixture.world.settings.attribution.sets();
    sets::want(&mut fixture.conn, &wanted, max_keys, TimeDelta::minutes(5)).await.unwrap();
}

fn reader(settings: &Settings) -> Reader {
    ReaderPlan::new(settings).unwrap().open()
}

/// An event of a few values in every dimension, some of them missing.
fn random(rng: &mut StdRng, org: u128, id: u128, at: DateTime<Utc>) -> Event {
    let status = Status::ALL[rng.random_range(0..4)];
    let text = |rng: &mut StdRng, what: &str, n: u32| {
        let k = rng.random_range(0..n);
        (k > 0).then(|| format!("{what}{k}"))
    };
    let team = text(rng, "team \"x\" ", 4).map(|name| ("te\"am".to_owned(), name));
    let crab = text(rng, &"🦀".repeat(300), 3).map(|name| ("🦀".to_owned(), name));
    let metadata: std::collections::BTreeMap<_, _> = team.into_iter().chain(crab).collect();
    Event {
        event_id: Uuid::from_u128(id),
        org_id: Uuid::from_u128(org),
        model_id: Uuid::from_u128(7 + rng.random_range(0..3)),
        actor_id: rng.random_bool(0.7).then(|| Uuid::from_u128(100 + rng.random_range(0..5))),
        client_id: text(rng, "client", 9),
        occurred_at: DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap(),
        status,
        error_code: (status != Status::Success).then(|| "E1".to_owned()),
        latency_ms: 12,
        input_tokens: rng.random_range(0..1000),
        output_tokens: rng.random_range(0..1000),
        cost_estimate_cents: Cents::from_units(rng.random_range(0..5_000_000_000_000)),
        metadata: (!metadata.is_empty()).then(|| (&metadata).into()),
    }
}

async fn commit(fixture: &mut CommitFixture, events: &[Event]) {
    let batch = fixture.batch(events.iter().map(body));
    let done = fixture.commit(&batch).await.unwrap();
    assert_eq!(done.counts.stored, events.len() as u64);
}

async fn merge_all(fixture: &mut CommitFixture) {
    let topology = fixture.world.settings.broker.topology();
    let name = PartitionName { stream: &topology.base, partition: 0, topology: &topology };
    while merge(&mut fixture.conn, name, rules(100)).await.unwrap().more {}
}

async fn fold_all(fixture: &mut CommitFixture) {
    let stream = fixture.world.settings.broker.topology().base;
    while fold::fold(&mut fixture.conn, &stream, 0).await.unwrap().more {}
}

/// No set has a retention that matters here.
fn forever() -> SetRetention {
    SetRetention { all: TimeDelta::days(3650), own: Vec::new() }
}

/// Counts again all that has to be.
async fn count_all(conn: &mut PgConnection) {
    while counting::next_noted(conn).await.unwrap().is_some()
        || counting::next_of_history(conn, &forever()).await.unwrap().is_some()
    {}
}

/// What `verify` finds to differ, of days that lie around now.
async fn differences(conn: &mut PgConnection, days: i64) -> Vec<String> {
    let today = analytics_service::domain::calendar::utc_day(Utc::now());
    let mut found = Found::default();
    recount::prepare(conn).await.unwrap();
    for day in -days..=1 {
        verify::day(conn, today + TimeDelta::days(day), None, &mut found).await.unwrap();
    }
    found.named.iter().map(|finding| finding.text()).collect()
}

/// Has the sets begin on what is committed already, whose history is then to be counted.
async fn begin_sets(fixture: &mut CommitFixture) {
    merge_all(fixture).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    want(fixture, 10_000).await;
    fold_all(fixture).await;
}

async fn settle_all(conn: &mut PgConnection) -> settle::Settled {
    settle::settle(conn, TimeDelta::hours(1), &mut |_| {}).await.unwrap()
}

fn group_by(names: &[&str]) -> Vec<Dimension> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn query(org: u128, buckets: &Buckets, names: &[&str], filters: Vec<Filter>) -> AttributionQuery {
    AttributionQuery { org_id: Uuid::from_u128(org), buckets: buckets.clone(), group_by: group_by(names), filters }
}

async fn read(reader: &Reader, query: &AttributionQuery) -> Attribution {
    // A busy machine is slow.
    eventually("attribution is read", async || {
        let all = |totals: &[KeyTotals]| (0..totals.len()).collect();
        match reader.attribution(query, all).await {
            Err(ReadError::Store(error)) if error.is_transient() => None,
            read => Some(read.unwrap().unwrap()),
        }
    })
    .await
}

fn total(of: &Attribution) -> Measures {
    of.totals.iter().map(|one| one.measures).sum()
}

/// Invocations, tokens in and out, and cost.
type Sums = (u64, u64, u64, Cents);

fn sums(of: Measures) -> Sums {
    (of.invocations, of.input_tokens, of.output_tokens, of.cost)
}

/// What usage says of the same range.
async fn usage(reader: &Reader, org: u128, buckets: &Buckets) -> Sums {
    let query = UsageQuery {
        org_id: Uuid::from_u128(org),
        buckets: buckets.clone(),
        models: Vec::new(),
        by_model: false,
        filters: Vec::new(),
        fill: false,
    };
    let totals = eventually("usage is read", async || match reader.usage(&query).await {
        Err(ReadError::Store(error)) if error.is_transient() => None,
        read => Some(read.unwrap().unwrap().totals()),
    })
    .await;
    (totals.invocations, totals.input_tokens, totals.output_tokens, totals.cost)
}

fn covering(start: DateTime<Utc>, end: DateTime<Utc>, granularity: Granularity, zone: Tz) -> Buckets {
    Buckets::covering(start, end, granularity, zone).unwrap()
}

/// All that names something in a table of attribution.
async fn texts_of(world: &World, text: &str) -> i64 {
    let mut conn = world.connect().await;
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM analytics.attribution_values WHERE value LIKE '%' || $1 || '%')
              + (SELECT count(*) FROM analytics.attribution_pending WHERE position(convert_to($1, 'UTF8') IN partials) > 0)",
    )
    .bind(text)
    .fetch_one(&mut conn)
    .await
    .unwrap()
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

async fn query_one<T>(conn: &mut PgConnection, statement: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// Makes the sets as old as `days`, so that the days between get parts of their own.
async fn age(fixture: &mut CommitFixture, days: i64) {
    sqlx::query(
        "UPDATE analytics.attribution_sets SET days_to = days_to - make_interval(days => $1::integer),
             months_to = date_trunc('month', days_to - make_interval(days => $1::integer), 'UTC')",
    )
    .bind(i32::try_from(days).unwrap())
    .execute(&mut fixture.conn)
    .await
    .unwrap();
}
