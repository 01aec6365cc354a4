//! Hours that are summed over all models: a response is the same with them and without, whatever changed since they were summed.

use analytics_service::auth::Role;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    engines::to_continuous,
    harness::{Service, World, number, settled},
};

pub const ORG: Uuid = Uuid::from_u128(0xA);
pub const OTHER: Uuid = Uuid::from_u128(0xB);
/// Days of a zone that begins within an hour of UTC among them.
const QUESTIONS: [&str; 6] = [
    "usage?granularity=hour",
    "reliability?granularity=hour&percentile=p95",
    "usage?granularity=day&timezone=Europe/Berlin",
    "usage?granularity=day&timezone=Asia/Kolkata",
    "reliability?granularity=day&timezone=Asia/Kolkata",
    "reliability?granularity=day",
];

/// Events, by their number and time: one every few minutes from so long ago up to then.
pub fn every_few_minutes(
    count: u32,
    from: TimeDelta,
    to: TimeDelta,
    event: impl Fn(u32, DateTime<Utc>) -> Value,
) -> Vec<Vec<u8>> {
    let (now, step) = (Utc::now(), (from - to) / i32::try_from(count).unwrap());
    let at = |n: u32| now - from + step * i32::try_from(n).unwrap();
    (0..count).map(|n| event(n, at(n)).to_string().into_bytes()).collect()
}

/// An event of two orgs.
pub fn event(id: u128, n: u32, model: u32, occurred_at: DateTime<Utc>) -> Value {
    let statuses = ["success", "success", "error", "timeout", "throttled"];
    json!({
        "eventId": Uuid::from_u128(id), "orgId": if n.is_multiple_of(3) { OTHER } else { ORG },
        "modelId": Uuid::from_u128(u128::from(model)), "occurredAt": occurred_at, "status": statuses[n as usize % 5],
        "latencyMs": n * 37 % 5000, "inputTokens": n, "outputTokens": 2 * n, "costEstimateCents": f64::from(n) / 64.0,
    })
}

fn events(first: u128, count: u32, from: TimeDelta, to: TimeDelta) -> Vec<Vec<u8>> {
    every_few_minutes(count, from, to, |n, at| event(first + u128::from(n), n, n % 4 % 3, at))
}

pub struct Asking<'w> {
    service: Service,
    token: String,
    pub world: &'w World,
    now: DateTime<Utc>,
}

impl<'w> Asking<'w> {
    pub async fn start(world: &'w World) -> Self {
        let service = world.serve().await;
        Self { token: service.token(&[ORG], &[Role::OrgViewer]), service, world, now: Utc::now() }
    }

    /// A response without what moves with time.
    pub async fn one(&self, question: &str) -> Value {
        let day = |days| (self.now + TimeDelta::days(days)).format("%FT00:00:00Z").to_string();
        let path = format!("/analytics/v1/orgs/{ORG}/{question}&start={}&end={}", day(-5), day(1));
        let (status, mut response) = self.service.get(&path, &self.token).await;
        assert_eq!(status, 200, "{response}");
        for name in ["freshness", "asOf", "final"] {
            response.as_object_mut().unwrap().remove(name);
        }
        response["series"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|point| drop(point.as_object_mut().unwrap().remove("final")));
        response
    }

    /// The responses, which are the same twice: by what the process knew before, and by what the first of them said. They have all
    /// that models have, which are never read from sums.
    async fn all(&self) -> Vec<Value> {
        let mut responses = Vec::new();
        for question in QUESTIONS {
            let response = self.one(question).await;
            assert_eq!(response, self.one(question).await, "{question}");
            let by_model = self.one(&format!("{question}&groupBy=model")).await;
            assert_eq!(response["totals"], by_model["totals"], "{question}");
            assert_eq!(response["highlight"]["latencyMs"], by_model["highlight"]["latencyMs"], "{question}");
            responses.push(response);
        }
        responses
    }

    async fn summed(&self) -> Vec<Value> {
        self.world.report(&["maintain"]).await;
        self.all().await
    }
}

async fn changed(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT count(*) FROM analytics.org_hours WHERE changed").await
}

#[tokio::test]
async fn responses_are_the_same_with_and_without_sums() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut conn = world.connect_as_owner().await;
    world.send(events(0, 900, TimeDelta::days(4), TimeDelta::zero())).await;
    settled(&mut conn, 900).await;
    let before = asking.all().await;
    assert_eq!(asking.summed().await, before);
    // They are what is read: what is not true shows.
    let falsify = async |conn: &mut PgConnection, by: i64| {
        let wrong = "UPDATE analytics.org_hours SET input_tokens = input_tokens + $1 WHERE NOT changed";
        sqlx::query(wrong).bind(by).execute(conn).await.unwrap();
    };
    falsify(&mut conn, 1).await;
    for (question, before) in QUESTIONS.iter().zip(&before).filter(|(question, _)| question.starts_with("usage")) {
        assert!(asking.one(question).await != *before, "{question}");
    }
    falsify(&mut conn, -1).await;
    // Late events change hours that are summed, and add hours that had nothing.
    world.send(events(10_000, 90, TimeDelta::days(5), TimeDelta::hours(2))).await;
    settled(&mut conn, 990).await;
    assert!(changed(&mut conn).await > 60);
    let late = asking.all().await;
    assert!(late != before);
    assert_eq!(asking.summed().await, late);
    assert_eq!(changed(&mut conn).await, 0);
    // What is rebuilt changes nothing here, and a process that knows more than the database reads the rollups.
    let day = |days: i64| (Utc::now() - TimeDelta::days(days)).format("%F").to_string();
    world.report(&["refresh", "--from", &day(5), "--to", &day(0)]).await;
    assert_eq!(asking.all().await, late);
    sqlx::raw_sql("UPDATE analytics.org_hours_summed SET summed_to = summed_from; TRUNCATE analytics.org_hours")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(asking.all().await, late);
    assert_eq!(asking.summed().await, late);
    // As a run leaves them when the clock stands a year ahead: then it goes back.
    let ahead = "UPDATE analytics.org_hours_summed SET summed_from = summed_from + INTERVAL '365 days',
                                                       summed_to = summed_to + INTERVAL '365 days';
                 DELETE FROM analytics.org_hours";
    sqlx::raw_sql(ahead).execute(&mut conn).await.unwrap();
    assert_eq!(asking.all().await, late);
    assert_eq!(asking.summed().await, late);
}

#[tokio::test]
async fn sums_hold_when_rollups_are_materialised() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut conn = world.connect().await;
    world.send(events(0, 900, TimeDelta::days(4), TimeDelta::zero())).await;
    settled(&mut conn, 900).await;
    let before = asking.summed().await;
    to_continuous(&world).await;
    assert_eq!(changed(&mut conn).await, 0, "rows that only move change nothing");
    assert_eq!(asking.all().await, before);
    world.send(events(10_000, 90, TimeDelta::days(5), TimeDelta::hours(2))).await;
    settled(&mut conn, 990).await;
    let late = asking.all().await;
    assert!(changed(&mut conn).await > 60 && late != before);
    assert_eq!(asking.summed().await, late);
    world.report(&["rollups", "switch", "--to", "live"]).await;
    assert_eq!(changed(&mut conn).await, 0);
    assert_eq!(asking.all().await, late);
}

#[tokio::test]
async fn sums_are_made_beside_merges_of_late_events() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let publishing = world.publish(&["--events", "20000", "--rate", "4000", "--late", "0.5", "--orgs", "20"]);
    let mut summing = std::pin::pin!(publishing);
    let report = loop {
        tokio::select! {
            report = &mut summing => break report,
            _ = world.report(&["maintain"]) => {}
        }
    };
    settled(&mut conn, report["sent"].as_i64().unwrap()).await;
    assert!(number(&mut conn, "SELECT count(*) FROM analytics.org_hours").await > 0);
    // The world's end compares what is summed with the rollups.
    world.report(&["maintain"]).await;
    assert_eq!(changed(&mut conn).await, 0);
    service.terminate().await;
}
