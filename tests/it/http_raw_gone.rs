//! Queries of raw events where some were purged: a response is complete, or is refused.

use analytics_service::auth::Role;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{Service, World};

/// An event each hour at half past, with its rollups, and no raw events from before the tenth of March.
async fn events(conn: &mut PgConnection, org: Uuid) {
    for (table, unit) in [("hourly_rollups", "hour"), ("daily_rollups", "day")] {
        let rollups = format!(
            "INSERT INTO analytics.{table}
             SELECT $1, date_trunc('{unit}', at, 'UTC'), $1, count(*), 0, 0, 0, count(*), count(*), count(*), count(*), 1, 1,
                    '\\x0101' || set_byte('\\x00', 0, count(*)::integer), max(at), now()
             FROM generate_series(timestamptz '2026-03-01 00:30:00Z', '2026-03-20 00:00:00Z', '1 hour') AS at GROUP BY 2"
        );
        sqlx::query(sqlx::AssertSqlSafe(rollups)).bind(org).execute(&mut *conn).await.unwrap();
    }
    let raw = "
        INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                            output_tokens, status, cost_cents)
        SELECT at, $1, gen_random_uuid(), $1, $1, 1, 1, 1, 'success', 1
        FROM generate_series(timestamptz '2026-03-10 00:30:00Z', '2026-03-20 00:00:00Z', '1 hour') AS at";
    sqlx::query(raw).bind(org).execute(&mut *conn).await.unwrap();
}

/// Notes from when on there are raw events: everybody's, or an org's.
async fn keep_from(conn: &mut PgConnection, org: Option<Uuid>, from: &str) {
    let note = "INSERT INTO analytics.raw_horizons VALUES ($1, $2::timestamptz)
                ON CONFLICT ON CONSTRAINT raw_horizons_key DO UPDATE SET raw_from = excluded.raw_from";
    sqlx::query(note).bind(org).bind(from.parse::<DateTime<Utc>>().unwrap()).execute(conn).await.unwrap();
}

struct Caller<'a> {
    service: &'a Service,
    org: Uuid,
}

impl Caller<'_> {
    async fn ask(&self, what: &str, start: &str, end: &str) -> (u16, Value) {
        let token = self.service.token(&[self.org], &[Role::OrgViewer]);
        let (path, query) = what.split_once('?').unwrap();
        let path = format!("/analytics/v1/orgs/{}/{path}?{query}&start={start}&end={end}", self.org);
        let (status, answer) = self.service.get(&path, &token).await;
        (status.as_u16(), answer)
    }

    /// How many invocations an answer has.
    async fn count(&self, what: &str, start: &str, end: &str) -> i64 {
        let (status, answer) = self.ask(what, start, end).await;
        assert_eq!(status, 200, "{what} {start} {answer}");
        answer["totals"]["invocations"].as_i64().unwrap()
    }

    /// The start that a refusal names; and that this one is answered.
    async fn floor(&self, what: &str, start: &str, end: &str, ending: &str) -> String {
        let (status, answer) = self.ask(what, start, end).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &Value::from("start")), "{what} {start} {answer}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        let floor = message.strip_prefix("must be at or after ").unwrap().split_once(' ').unwrap();
        assert_eq!(floor.1, format!("here: raw events from before are not kept any more{ending}"));
        assert_eq!(self.ask(what, floor.0, end).await.0, 200, "{what} {}", floor.0);
        floor.0.to_owned()
    }
}

const OFF_THE_HOUR: &str = ", and days of this zone begin within an hour of UTC";

#[tokio::test]
async fn only_queries_of_purged_events_are_refused() {
    let world = World::new(1).await.unchecked("events without a ledger are put in");
    let mut owner = world.connect_as_owner().await;
    let [org, shorter] = [(); 2].map(|()| Uuid::new_v4());
    for org in [org, shorter] {
        events(&mut owner, org).await;
    }
    let service = world.serve().await;
    let (all, less) = (Caller { service: &service, org }, Caller { service: &service, org: shorter });
    let (start, end) = ("2026-03-09T00:00:00Z", "2026-03-15T18:30:00Z");
    let by_client = "reliability?groupBy=client&granularity=hour";
    let kolkata = "usage?timezone=Asia/Kolkata";
    // Without a note: what is there is taken for all that there was.
    assert_eq!(all.count(by_client, start, end).await, 5 * 24 + 19);

    keep_from(&mut owner, None, "2026-03-10T00:00:00Z").await;
    for what in [by_client, "reliability?groupBy=errorCode&granularity=hour", "reliability?groupBy=client"] {
        assert_eq!(all.floor(what, start, end, "").await, "2026-03-10T00:00:00Z", "{what}");
        assert_eq!(all.floor(what, "2026-03-09T23:59:59Z", end, "").await, "2026-03-10T00:00:00Z", "{what}");
    }
    assert_eq!(all.count(by_client, "2026-03-10T00:00:00Z", end).await, 5 * 24 + 19);
    for what in [kolkata, "reliability?timezone=Asia/Kolkata", "reliability?timezone=Asia/Kolkata&groupBy=model"] {
        // The day that the first raw event is of begins before it.
        assert_eq!(all.floor(what, start, end, OFF_THE_HOUR).await, "2026-03-10T18:30:00Z", "{what}");
        assert_eq!(all.floor(what, "2026-03-10T12:00:00Z", end, OFF_THE_HOUR).await, "2026-03-10T18:30:00Z", "{what}");
        assert_eq!(all.count(what, "2026-03-10T18:30:00Z", end).await, 5 * 24, "{what}");
    }
    // Rollups know the rest.
    for what in ["usage?granularity=day", "usage?granularity=hour&timezone=Asia/Kolkata", "reliability?groupBy=model"] {
        assert_eq!(all.count(what, "2026-03-02T00:00:00Z", "2026-03-15T00:00:00Z").await, 13 * 24, "{what}");
    }
    let berlin = ("2026-03-01T23:00:00Z", "2026-03-14T23:00:00Z");
    assert_eq!(all.count("usage?timezone=Europe/Berlin", berlin.0, berlin.1).await, 13 * 24);

    // An org with a shorter retention, within a day.
    keep_from(&mut owner, Some(shorter), "2026-03-12T10:20:00Z").await;
    assert_eq!(less.floor(by_client, "2026-03-12T10:00:00Z", end, "").await, "2026-03-12T11:00:00Z");
    assert_eq!(less.floor("reliability?groupBy=client", start, end, "").await, "2026-03-13T00:00:00Z");
    assert_eq!(less.floor(kolkata, "2026-03-11T18:30:00Z", end, OFF_THE_HOUR).await, "2026-03-12T18:30:00Z");
    assert_eq!(all.count(by_client, "2026-03-10T00:00:00Z", end).await, 5 * 24 + 19, "it is that org's alone");
    // The later of the two counts.
    keep_from(&mut owner, None, "2026-03-13T00:00:00Z").await;
    assert_eq!(less.floor(by_client, start, end, "").await, "2026-03-13T00:00:00Z");
}
