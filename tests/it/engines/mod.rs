//! Two engines, one meaning: each that the server has returns the same for the same history, and switching between them
//! under load loses and doubles nothing.

mod cut;
mod history;
mod invalidations;
mod points;
mod readers;
mod responses;
mod switches;

use std::collections::BTreeMap;

use analytics_service::{
    domain::histogram,
    store::{
        self,
        rollups::{aggregates, switch},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::harness::{Service, World, not_run, settled};

pub const LIVE: &str = "live";
pub const CONTINUOUS: &str = "continuous";
const DAYS: i64 = 399;
/// What stands in for the tables of the aggregates.
const STAND_INS: [&str; 2] = ["analytics.hourly_stand_in", "analytics.daily_stand_in"];

/// Whether the server has continuous aggregates; says so where it has not.
pub async fn has_continuous(conn: &mut PgConnection) -> bool {
    let community = is_community(conn).await;
    if !community {
        not_run("continuous aggregates need TimescaleDB's Community edition, and this is the Apache edition");
    }
    community
}

pub async fn is_community(conn: &mut PgConnection) -> bool {
    let license: String = sqlx::query_scalar("SHOW timescaledb.license").fetch_one(conn).await.unwrap();
    license == "timescale"
}

/// Switches to continuous aggregates, or to what stands in for them.
pub async fn to_continuous(world: &World) {
    if is_community(&mut world.connect().await).await {
        return switch(world, CONTINUOUS).await;
    }
    begin_continuous(world).await;
    world.report(&["refresh", "--late"]).await;
}

/// Begins to read continuous aggregates, of which nothing is materialised. On the Apache edition, which has none: plain tables stand
/// in for what is materialised, filled by the same statements, and all else is the same.
pub async fn begin_continuous(world: &World) {
    let mut owner = world.connect_as_owner().await;
    let role = store::user_of(&world.settings.database.url).unwrap();
    if is_community(&mut owner).await {
        aggregates::create(&mut owner, &role).await.unwrap();
        return switch::begin(&mut owner).await.unwrap();
    }
    let bounds: Vec<String> = histogram::bounds().iter().map(u32::to_string).collect();
    let created = include_str!("../../../src/store/rollups/sql/continuous_create.sql");
    let mut selects = created.split("AS\nSELECT ").skip(1).map(|part| part.split("WITH NO DATA").next().unwrap());
    let (hours, days) = (selects.next().unwrap(), selects.next().unwrap());
    let stand_in = include_str!("stand_in.sql")
        .replace("{hours}", hours)
        .replace("{days}", &days.replace("hourly_continuous", "hourly_stand_in"))
        .replace("{bounds}", &format!("{{{}}}", bounds.join(",")))
        .replace("{buckets}", &bounds.len().to_string());
    sqlx::raw_sql(AssertSqlSafe(stand_in)).execute(&mut owner).await.unwrap();
    for (unit, table) in ["hourly", "daily"].into_iter().zip(STAND_INS) {
        for text in [
            include_str!("../../../src/store/rollups/sql/materialised_view.sql"),
            include_str!("../../../src/store/rollups/sql/materialised_guard.sql"),
        ] {
            let text = text.replace("{unit}", unit).replace("{table}", table);
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
        }
    }
    sqlx::query("SELECT analytics.grant_to($1)").bind(role).execute(&mut owner).await.unwrap();
    switch::begin(&mut owner).await.unwrap();
}

/// The tables of what is materialised, of hours and of days.
async fn materialised_tables(world: &World) -> [String; 2] {
    let aggregates = aggregates::all(&mut world.connect().await).await.unwrap();
    let tables: Vec<String> = aggregates.into_iter().map(|aggregate| aggregate.table).collect();
    tables.try_into().unwrap_or(STAND_INS.map(str::to_owned))
}

/// Materialises hours before the cut by hand, as an operator may, which is refused: those that have changed, or all.
async fn assert_refused(world: &World, from: DateTime<Utc>, to: DateTime<Utc>, all: bool) {
    let mut owner = world.connect_as_owner().await;
    // TimescaleDB ends transactions even after an error, which hides it.
    let (call, reason) = match is_community(&mut owner).await {
        true => (
            format!(
                "public.refresh_continuous_aggregate('analytics.hourly_continuous', '{from}', '{to}', force => {all})"
            ),
            "invalid transaction termination",
        ),
        false => (
            format!("analytics.materialise('hourly', '{from}', '{to}')"),
            "buckets before the cut are not materialised again",
        ),
    };
    let call = format!("CALL {call}");
    let error = sqlx::raw_sql(AssertSqlSafe(call)).execute(&mut owner).await.unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
}

/// A world, the service that has stored these messages and merged them, and a connection.
async fn stored(bodies: Vec<Vec<u8>>) -> (World, Service, PgConnection) {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let messages = i64::try_from(bodies.len()).unwrap();
    world.send(bodies).await;
    settled(&mut conn, messages).await;
    (world, service, conn)
}

/// The same, with all that is final materialised.
pub async fn materialised(bodies: Vec<Vec<u8>>) -> (World, Service, PgConnection) {
    let (world, service, conn) = stored(bodies).await;
    to_continuous(&world).await;
    (world, service, conn)
}

/// `verify` finds that everything agrees.
async fn assert_verified(world: &World) {
    let report = world.report(&["verify"]).await;
    assert_eq!(report["holds"], true, "{report}");
}

/// The start of the UTC day so many days ago.
pub fn day(ago: i64) -> DateTime<Utc> {
    (Utc::now() - TimeDelta::days(ago)).date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc()
}

/// Purges the raw events of the days before `until`, of which there are some.
pub async fn purge_raw(conn: &mut PgConnection, until: DateTime<Utc>) {
    let purge = "SELECT events FROM analytics.purge_raw_chunk($1)";
    let mut purged = 0;
    while let Some(events) = sqlx::query_scalar::<_, i64>(purge).bind(until).fetch_optional(&mut *conn).await.unwrap() {
        purged += events;
    }
    assert!(purged > 0);
}

/// Switches, and takes the database's own job off, so that tests know what is refreshed when.
pub async fn switch(world: &World, engine: &str) {
    let report = world.report(&["rollups", "switch", "--to", engine]).await;
    assert_eq!((&report["engine"], &report["switching"]), (&json!(engine), &json!(false)));
    for job in jobs(world).await {
        sqlx::query("SELECT public.delete_job($1)")
            .bind(job)
            .execute(&mut world.connect_as_owner().await)
            .await
            .unwrap();
    }
}

/// Jobs that refresh.
async fn jobs(world: &World) -> Vec<i32> {
    sqlx::query_scalar("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'refresh_job'")
        .fetch_all(&mut world.connect().await)
        .await
        .unwrap()
}

/// Events of two orgs over the days before `now`, more of them lately; the same for the same `now`.
fn history(now: DateTime<Utc>) -> (Vec<Uuid>, Vec<Value>) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let statuses = ["success", "success", "success", "error", "timeout", "throttled"];
    let orgs = [Uuid::from_u128(0xA), Uuid::from_u128(0xB)];
    let events = (0..4000).map(|n: i64| {
        let ago = match n % 4 {
            0 => TimeDelta::minutes(random.random_range(0..3 * 24 * 60)),
            _ => TimeDelta::seconds(random.random_range(0..DAYS * 86_400)),
        };
        json!({
            "eventId": Uuid::from_u128(n.unsigned_abs().into()),
            "orgId": orgs[usize::from(random.random_bool(0.3))],
            "modelId": Uuid::from_u128(random.random_range(0..4)),
            "clientId": format!("client-{}", random.random_range(0..3)),
            "occurredAt": now - ago,
            "status": statuses[random.random_range(0..6)],
            "errorCode": null,
            "latencyMs": (2_u64.pow(random.random_range(0..20)) + random.random_range(0..50)),
            "inputTokens": random.random_range(0..100_000),
            "outputTokens": random.random_range(0..100_000),
            "costEstimateCents": f64::from(random.random_range(0..1_000_000)) / 10_000.0,
        })
    });
    (orgs.to_vec(), events.collect())
}

/// Events as messages.
fn bodies(events: &[Value]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.to_string().into_bytes()).collect()
}

/// An event of an org, of any of three models.
fn event(org: Uuid, at: DateTime<Utc>) -> Vec<u8> {
    json!({
        "eventId": Uuid::new_v4(), "orgId": org, "modelId": Uuid::from_u128(rand::random_range(0..3)), "occurredAt": at,
        "status": "success", "latencyMs": rand::random_range(1..5000), "inputTokens": 3, "outputTokens": 7,
        "costEstimateCents": 0.5,
    })
    .to_string()
    .into_bytes()
}

/// Invocations that are shown, by org, hour and model.
async fn shown(conn: &mut PgConnection) -> BTreeMap<(Uuid, DateTime<Utc>, Uuid), i64> {
    let rows: Vec<(Uuid, DateTime<Utc>, Uuid, i64)> = sqlx::query_as(
        "SELECT org_id, bucket_start, model_id, sum(successes + errors + timeouts + throttled)::bigint
         FROM analytics.hourly_usage GROUP BY 1, 2, 3",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    rows.into_iter().map(|(org, hour, model, n)| ((org, hour, model), n)).collect()
}
