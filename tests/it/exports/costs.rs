//! Costs finer than a ten-thousandth of a cent: the same to the last digit from the message to the file.

use analytics_service::domain::money::Cents;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{LocalStore, ORG, Store, days, download, id, made, path, records};
use crate::harness::{Service, settled};

/// What producers write, and what is kept of it, in 10⁻¹² cents.
const COSTS: [(&str, i128); 8] = [
    // Tokens times a price in floats.
    ("0.0034999999999999996", 3_500_000_000),
    ("74.77000000000001", 74_770_000_000_000),
    // An embedding call.
    ("0.00004", 40_000_000),
    ("1.5e-7", 150_000),
    ("0.000000000001", 1),
    ("0.0000000000015", 2),
    ("9999999999.999999999999", 9_999_999_999_999_999_999_999),
    ("10000000000", 10_000_000_000_000_000_000_000),
];
const TIMES: i128 = 250;

/// Events with each cost so many times, of the two days before yesterday: their hours are over at any time of today.
fn events(times: i128, first_id: u128) -> Vec<Vec<u8>> {
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(1);
    let at = |n: usize| -> DateTime<Utc> { midnight - TimeDelta::seconds(86 * i64::try_from(n % 2000).unwrap() + 1) };
    let all = (0..times).flat_map(|_| COSTS).enumerate();
    let text = |(n, (cost, _)): (usize, (&str, i128))| {
        format!(
            r#"{{"eventId":"{}","orgId":"{ORG}","modelId":"{}","occurredAt":"{}","status":"success","latencyMs":1,
                "inputTokens":1,"outputTokens":1,"costEstimateCents":{cost}}}"#,
            Uuid::from_u128(first_id + n as u128),
            Uuid::from_u128(n as u128 % 3),
            at(n).to_rfc3339(),
        )
    };
    all.map(|event| text(event).into_bytes()).collect()
}

/// The answer's text: a number of JSON as a double is not what was written.
async fn text(service: &Service, path: &str) -> String {
    let token = service.token(&[ORG], &analytics_service::auth::Role::ALL);
    let request = reqwest::Client::new().get(format!("http://{}{path}", service.api)).bearer_auth(token);
    request.send().await.unwrap().text().await.unwrap()
}

/// All costs of a JSON text, as they are written.
fn costs(text: &str) -> Vec<String> {
    let after = text.split("\"costEstimateCents\":").skip(1).map(str::trim_start);
    after.map(|rest| rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.' || *c == '-').collect()).collect()
}

fn sum<'a>(costs: impl IntoIterator<Item = &'a str>) -> Cents {
    costs.into_iter().map(|cost| Cents::from_text(cost).unwrap()).sum()
}

#[tokio::test]
async fn a_cost_is_exact_from_message_to_file() {
    let store = Store::Local(LocalStore::new());
    let world = store.world().await.unchecked("rollups are changed by hand");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    world.send(events(TIMES, 0)).await;
    settled(&mut conn, 2000).await;
    world.forget_revisions().await;
    // What comes when its hours are closed is a revision of them.
    world.send(events(1, 5000)).await;
    settled(&mut conn, 2008).await;
    let of_each: i128 = COSTS.iter().map(|(_, units)| units).sum();
    let total = Cents::from_units(of_each * (TIMES + 1)).to_string();
    assert_eq!(total, "5020000018768.158577650502");

    for table in ["usage_events", "hourly_rollups", "daily_rollups"] {
        let statement = format!("SELECT sum(cost_cents)::text FROM analytics.{table}");
        let sum: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&mut conn).await.unwrap();
        assert_eq!(Cents::from_text(&sum).unwrap().to_string(), total, "{table}");
    }
    let revised: String =
        sqlx::query_scalar("SELECT sum(after_cost_cents - before_cost_cents)::text FROM analytics.rollup_revisions")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    let revised = Cents::from_text(&revised).unwrap().units();
    assert_eq!(revised, of_each);

    let range = days(4);
    let asked = format!("start={}&end={}", range["start"].as_str().unwrap(), range["end"].as_str().unwrap());
    for granularity in ["hour", "day"] {
        let usage = format!("/analytics/v1/orgs/{ORG}/usage?{asked}&granularity={granularity}&groupBy=model");
        let mut found = costs(&text(&service, &usage).await);
        assert_eq!(found.pop().as_deref(), Some(total.as_str()), "the totals come last");
        assert_eq!(sum(found.iter().map(String::as_str)).to_string(), total, "{granularity}");
    }
    let revisions = costs(&text(&service, &format!("/analytics/v1/orgs/{ORG}/revisions?{asked}&limit=1000")).await);
    let (before, after): (Vec<_>, Vec<_>) =
        revisions.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).unzip();
    assert_eq!(sum(after).units() - sum(before).units(), revised);

    let job = made(&service, ORG, &json!({ "timeRange": range, "granularity": "hourly" })).await;
    let rows = records(&download(&service, ORG, &job).await);
    assert_eq!(sum(rows[1..].iter().map(|row| row[9].as_str())).to_string(), total);
    assert!(rows[1..].iter().all(|row| !row[9].contains('.') || !row[9].ends_with('0')), "no noughts at an end");
    assert_eq!(costs(&text(&service, &path(ORG, &format!("/{}", id(&job)))).await), [total.as_str()]);
    let Store::Local(local) = &store else { panic!("it is a local one") };
    let manifest = format!("analytics/exports/{ORG}/{}.csv.manifest.json", id(&job));
    assert_eq!(costs(&std::fs::read_to_string(local.folder.path().join(manifest)).unwrap()), [total.as_str()]);

    for check in [&["verify"][..], &["verify", "--export", &id(&job).to_string()]] {
        let output = world.run(check).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    // A difference in the last digit is one.
    sqlx::query(
        "UPDATE analytics.hourly_rollups SET cost_cents = cost_cents + 0.000000000001
         WHERE bucket_start = (SELECT min(bucket_start) FROM analytics.hourly_rollups)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    assert_eq!(world.run(&["verify"]).await.status.code(), Some(3));
}
