//! What was purged or erased is refused with the first start that works, whatever the settings say now, and never answered
//! with what is left of it.

use analytics_service::{auth::Role, store::schema};
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::harness::{Service, World, number, settled};

/// Days that rollups are kept by default.
const KEPT: i64 = 396;
/// Longest range of days that may be requested.
const LONGEST: i64 = 400;

/// The start of the UTC day so many days ago.
fn day(ago: i64) -> DateTime<Utc> {
    (Utc::now() - TimeDelta::days(ago)).date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// An event at half past ten of each of so many days before today, merged, committed when it occurred, and each hour revised.
async fn history(conn: &mut PgConnection, org: Uuid, days: i64) {
    let ten = "date_trunc('day', now(), 'UTC') - day * INTERVAL '24 hours' + INTERVAL '10 hours'";
    for (table, bucket) in
        [("hourly_rollups", ten), ("daily_rollups", "date_trunc('day', now(), 'UTC') - day * INTERVAL '24 hours'")]
    {
        let statement = format!(
            "INSERT INTO analytics.{table}
             SELECT $1, {bucket}, $1, 1, 0, 0, 0, 3, 4, 1.25, 7, 7, 7, '\\x010701', {ten} + INTERVAL '30 minutes', now()
             FROM generate_series(1, $2) AS day"
        );
        sqlx::query(AssertSqlSafe(statement)).bind(org).bind(days).execute(&mut *conn).await.unwrap();
    }
    for statement in [
        format!(
            "INSERT INTO analytics.ledger_hourly SELECT $1, {ten}, 1, 1, 0, 0, 0, 0 FROM generate_series(1, $2) AS day"
        ),
        format!(
            "INSERT INTO analytics.rollup_revisions
             SELECT analytics.uuid_v7({ten}), $1, $1, {ten}, 'late', {ten}, {ten}, 1, 0, 0, 0, 0, 1, 3, 4, 1.25
             FROM generate_series(1, $2) AS day"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).bind(org).bind(days).execute(&mut *conn).await.unwrap();
    }
}

fn event(org: Uuid, n: u128, at: DateTime<Utc>) -> Vec<u8> {
    json!({
        "eventId": Uuid::from_u128(n), "orgId": org, "modelId": org, "occurredAt": at, "status": "success", "latencyMs": 7,
        "inputTokens": 3, "outputTokens": 4, "costEstimateCents": 1.25,
    })
    .to_string()
    .into_bytes()
}

struct Caller<'a> {
    service: &'a Service,
    org: Uuid,
}

impl Caller<'_> {
    async fn ask(&self, what: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> (u16, Value) {
        let token = self.service.token(&[self.org], &[Role::OrgAdmin, Role::SystemAdmin]);
        let (path, query) = what.split_once('?').unwrap_or((what, ""));
        let path = if path == "summary" { path.to_owned() } else { format!("orgs/{}/{path}", self.org) };
        let path = format!("/analytics/v1/{path}?{query}&start={}&end={}", text(start), text(end)).replace("?&", "?");
        let (status, answer) = self.service.get(&path, &token).await;
        (status.as_u16(), answer)
    }

    /// The start that a refusal names, which is answered.
    async fn refused(&self, what: &str, start: DateTime<Utc>, end: DateTime<Utc>, named: &str) -> DateTime<Utc> {
        let (status, answer) = self.ask(what, start, end).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("start")), "{what} {start} {answer}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        let (first, rest) = message.strip_prefix("must be at or after ").unwrap().split_once(' ').unwrap();
        assert_eq!(rest, format!("here: {named} from before are not kept any more"), "{what}");
        let first = first.parse().unwrap();
        let end = end.max(first + TimeDelta::days(1));
        assert_eq!(self.ask(what, first, end).await.0, 200, "{what} {first}");
        first
    }

    async fn invocations(&self, what: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
        let (status, answer) = self.ask(what, start, end).await;
        assert_eq!(status, 200, "{what} {start} {answer}");
        answer["totals"]["invocations"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn purged_queries_are_refused_with_the_first_start() {
    let world = World::new(1).await.unchecked("events without a ledger are put in");
    let mut conn = world.connect().await;
    let (old, young, unknown) = (id(0xF1), id(0xF2), id(0xF3));
    history(&mut conn, old, 820).await;
    history(&mut conn, young, 100).await;
    world.report(&["purge"]).await;
    let service = world.serve().await;
    let caller = |org| Caller { service: &service, org };
    let (of_old, from, to, floor) = (caller(old), day(LONGEST - 2), day(-1), day(KEPT));

    // Two days less than the longest range, one of which may have 25 hours: still longer than what is kept.
    for what in ["usage", "usage?fill=zero", "usage?groupBy=model", "reliability", "reliability?groupBy=model"] {
        assert_eq!(of_old.refused(what, from, to, "rollups").await, floor, "{what}");
        assert_eq!(of_old.refused(what, floor - TimeDelta::seconds(1), to, "rollups").await, floor, "{what}");
        assert_eq!(of_old.invocations(what, floor, to).await, KEPT, "{what}");
    }
    // A day of a zone is whole from the first that begins at the floor or behind it.
    let berlin = of_old.refused("usage?timezone=Europe/Berlin", from, to, "rollups").await;
    assert!(floor < berlin && berlin < floor + TimeDelta::days(1), "{berlin}");
    let (start, end) = (day(KEPT + 1), day(KEPT - 30));
    for (what, named, first) in [
        ("usage?granularity=hour", "rollups", floor),
        ("reliability?granularity=hour", "rollups", floor),
        ("revisions", "revisions", floor),
        ("summary", "rollups of some organisations", floor),
    ] {
        assert_eq!(of_old.refused(what, start, end - TimeDelta::days(1), named).await, first, "{what}");
    }
    let hours = of_old.refused("ledger", day(801), day(780), "hours of the ledger").await;
    assert!(day(800) < hours && hours <= day(799) + TimeDelta::hours(1), "hours are kept by the moment: {hours}");

    // For an org without purged data there is nothing to refuse: before the first event there was nothing.
    assert_eq!(caller(young).invocations("usage", from, to).await, 100);
    assert_eq!(caller(unknown).invocations("usage", from, to).await, 0);
    for what in ["revisions", "ledger"] {
        assert_eq!(caller(young).ask(what, day(LONGEST), day(LONGEST - 89)).await.0, 200, "{what}");
    }

    // An event that comes late into a purged day is stored and in the ledger, and never shown as that day.
    let late = day(KEPT + 2) + TimeDelta::hours(9);
    world.send([event(old, 1, late), event(young, 2, late)]).await;
    settled(&mut conn, 2).await;
    let hour = of_old.ask("ledger", Utc::now() - TimeDelta::hours(1), Utc::now() + TimeDelta::hours(1)).await.1;
    assert_eq!((&hour["totals"]["stored"], &hour["totals"]["received"]), (&json!(1), &json!(1)), "{hour}");
    assert_eq!(of_old.refused("usage", late, to, "rollups").await, floor);
    assert_eq!(of_old.refused("usage?granularity=hour", late, late + TimeDelta::days(1), "rollups").await, floor);
    assert_eq!(of_old.refused("revisions", late, to, "revisions").await, floor);
    assert_eq!(of_old.invocations("usage", floor, to).await, KEPT);
    assert_eq!(caller(young).invocations("usage", from, to).await, 101, "all that there ever was of that day");
    // It is not held against its raw events, nor counted again from them: what is there is not all.
    let (org, of_day) = (old.to_string(), late.date_naive().to_string());
    let next = (late.date_naive() + TimeDelta::days(1)).to_string();
    let verified = world.report(&["verify", "--org", &org, "--from", &of_day, "--to", &next]).await;
    assert_eq!((&verified["holds"], &verified["events"]), (&json!(true), &json!(0)), "{verified}");
    assert!(verified["notChecked"].to_string().contains("rollups of 1 organisations from before"), "{verified}");
    let refreshed = world.report(&["refresh", "--from", &of_day, "--to", &next]).await;
    let left_out = refreshed["leftOut"].as_str().unwrap();
    assert!(left_out.starts_with("rollups of 1 organisations from before"), "{refreshed}");
    assert_eq!(of_old.refused("usage", late, to, "rollups").await, floor);
    // The next purge deletes it, of both now.
    world.report(&["purge"]).await;
    assert_eq!(caller(young).refused("usage", from, to, "rollups").await, floor);
    assert_eq!(caller(young).invocations("usage", floor, to).await, 100);
}

#[tokio::test]
async fn a_longer_retention_brings_no_floor_down() {
    let world = World::new(1).await.unchecked("events without a ledger are put in");
    let mut conn = world.connect().await;
    let (short, other) = (id(0xF4), id(0xF5));
    history(&mut conn, short, 60).await;
    history(&mut conn, other, 60).await;
    let org = short.to_string();
    world.report(&["retention", "set", "--org", &org, "--rollup-days", "30"]).await;
    let service = world.serve().await;
    let caller = |org| Caller { service: &service, org };
    let (from, to) = (day(59), day(-1));
    assert_eq!(caller(short).invocations("usage", from, to).await, 59, "a retention that nothing was purged by yet");
    world.report(&["purge"]).await;
    world.report(&["retention", "set", "--org", &org, "--rollup-days", "800"]).await;
    world.report(&["purge"]).await;
    world.report(&["retention", "clear", "--org", &org]).await;
    world.report(&["purge"]).await;
    for what in ["usage", "reliability"] {
        assert_eq!(caller(short).refused(what, from, to, "rollups").await, day(30), "{what}");
        assert_eq!(caller(short).invocations(what, day(30), to).await, 30);
        assert_eq!(caller(other).invocations(what, from, to).await, 59);
    }
    let (start, end) = (day(45), day(20));
    assert_eq!(caller(other).refused("summary", start, end, "rollups of some organisations").await, day(30));
}

#[tokio::test]
async fn erased_ranges_are_refused_and_later_ones_shown() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (erased, other) = (id(0xF6), id(0xF7));
    history(&mut conn, erased, 40).await;
    history(&mut conn, other, 40).await;
    let service = world.serve().await;
    let caller = |org| Caller { service: &service, org };
    // A little ahead of the clock, as an event may be.
    let ahead = Utc::now() + TimeDelta::minutes(4);
    world.send([event(erased, 1, ahead)]).await;
    settled(&mut conn, 1).await;
    world.report(&["erase", "--org", &erased.to_string(), "--yes"]).await;
    world.send([event(erased, 2, day(3) + TimeDelta::hours(10)), event(erased, 3, ahead)]).await;
    settled(&mut conn, 3).await;
    let (from, to) = (day(30), day(-1));
    for (what, named) in [("usage", "rollups"), ("reliability", "rollups"), ("revisions", "revisions")] {
        let first = caller(erased).refused(what, from, to, named).await;
        assert!(first > ahead, "{what}: {first}");
    }
    for what in ["reliability?groupBy=client", "usage?timezone=Asia/Kolkata"] {
        assert_eq!(caller(erased).ask(what, day(6), to).await.0, 400, "{what}");
    }
    assert_eq!(caller(erased).ask("ledger", from, to).await.0, 200, "the ledger keeps its counts");
    assert_eq!(caller(other).invocations("usage", from, to).await, 30);
    let (status, summary) = caller(other).ask("summary", from, to).await;
    assert_eq!((status, &summary["totals"]["invocations"]), (200, &json!(30)), "{summary}");
}

#[tokio::test]
async fn an_upgrade_derives_floors_from_what_was_purged() {
    let world = World::new(1).await.unchecked("events without a ledger are put in");
    let (mut owner, mut conn) = (world.connect_as_owner().await, world.connect().await);
    let (plain, own, cleared, erased) = (id(0xF8), id(0xF9), id(0xFA), id(0xFB));
    for org in [plain, own, cleared] {
        history(&mut conn, org, 60).await;
    }
    sqlx::query("INSERT INTO analytics.erasures VALUES ($1, $2)")
        .bind(erased)
        .bind(day(5))
        .execute(&mut conn)
        .await
        .unwrap();
    let role = analytics_service::store::user_of(&world.settings.database.url).unwrap();
    let again = async |owner: &mut PgConnection| {
        schema::down(owner, 20_261_125_000_007).await.unwrap();
        schema::up(owner, &role).await.unwrap();
    };
    again(&mut owner).await;
    let floors = number(&mut owner, "SELECT count(*) FROM analytics.retention_floors").await;
    assert_eq!(floors, 0, "nothing was ever purged");
    world.report(&["retention", "set", "--org", &own.to_string(), "--rollup-days", "20"]).await;
    world.report(&["retention", "set", "--org", &cleared.to_string(), "--rollup-days", "30"]).await;
    world.report(&["purge"]).await;
    world.report(&["retention", "clear", "--org", &cleared.to_string()]).await;
    world.report(&["purge"]).await;
    again(&mut owner).await;
    for (org, hourly) in [(plain, day(KEPT)), (own, day(20)), (cleared, day(30)), (erased, day(5))] {
        let floor: Option<DateTime<Utc>> = sqlx::query_scalar("SELECT analytics.floor_of($1, 'hourly')")
            .bind(org)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(floor, Some(hourly), "{org}");
    }
}

#[tokio::test]
async fn responses_beside_a_purge_are_whole() {
    let world = World::new(1).await.unchecked("events without a ledger are put in");
    let mut conn = world.connect().await;
    let org = id(0xFC);
    // So many rows that they go in several pieces.
    let hours = "INSERT INTO analytics.hourly_rollups
                 SELECT $1, date_trunc('day', now(), 'UTC') - hour * INTERVAL '1 hour', $1, 1, 0, 0, 0, 3, 4, 1.25, 7, 7, 7,
                        '\\x010701', now(), now() FROM generate_series(1, 24 * 1400) AS hour";
    sqlx::query(hours).bind(org).execute(&mut conn).await.unwrap();
    let service = world.serve().await;
    let caller = Caller { service: &service, org };
    let range = (day(KEPT + 60), day(KEPT + 10));
    let purging = world.report(&["purge"]);
    tokio::pin!(purging);
    let (mut whole, mut refused) = (0, 0);
    loop {
        let (status, answer) = caller.ask("usage?granularity=hour", range.0, range.1).await;
        match status {
            200 => {
                assert_eq!(answer["totals"]["invocations"], 50 * 24, "{answer}");
                whole += 1;
            }
            400 => refused += 1,
            _ => panic!("{status} {answer}"),
        }
        if tokio::time::timeout(std::time::Duration::from_millis(1), &mut purging).await.is_ok() {
            break;
        }
    }
    eprintln!("{whole} answers in full, {refused} refused");
    assert!(whole > 0 && caller.refused("usage?granularity=hour", range.0, range.1, "rollups").await == day(KEPT));
}

#[tokio::test]
async fn purged_hours_are_no_difference() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__RETENTION__LEDGER_HOUR_DAYS", "5");
    let mut conn = world.connect().await;
    let (org, person, at) = (id(0xFD), id(0xFE), day(10) + TimeDelta::hours(3));
    sqlx::query(
        "INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                             output_tokens, status, cost_cents, actor_id)
         VALUES ($2, $1, $1, $1, $1, 7, 3, 4, 'success', 1.25, $3)",
    )
    .bind(org)
    .bind(at)
    .bind(person)
    .execute(&mut conn)
    .await
    .unwrap();
    for statement in [
        "INSERT INTO analytics.ingestion_batches
             (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates, conflicts,
              rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at)
         VALUES ($1, 's', 1, 0, 'live', 0, 1, 1, 1, 0, 0, 0, 0, 1, $2, $2, 0, $2, $2)",
        "INSERT INTO analytics.ledger_hourly VALUES ($1, date_trunc('hour', $2, 'UTC'), 1, 1, 0, 0, 0, 0)",
    ] {
        sqlx::query(statement).bind(org).bind(at).execute(&mut conn).await.unwrap();
    }
    let next = (at.date_naive() + TimeDelta::days(1)).to_string();
    world.report(&["refresh", "--from", &at.date_naive().to_string(), "--to", &next]).await;
    assert_eq!(world.report(&["verify"]).await["holds"], true);
    assert_eq!(world.report(&["purge"]).await["ledger"]["hours"], 1);
    assert_eq!(world.report(&["verify"]).await["holds"], true, "its batch is kept for longer");
    let planned = world.report(&["erase", "--actor", &person.to_string(), "--dry-run"]).await;
    assert_eq!(planned["left"]["rawEvents"], 1, "{planned}");
}
