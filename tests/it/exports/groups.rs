//! Files by dimensions of attribution: the same sums as the events, as attribution and as usage.

use std::collections::BTreeMap;

use analytics_service::domain::event::Event;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{ORG, Store, command, download, finance, id, made, path, records};
use crate::{
    harness::{LocalStore, Service, World, eventually, settled},
    http_attribution::{SETS, Sums, add, events, of_event, of_json, value_of},
    store_commit::body,
};
use serde_json::{Value, json};

/// Columns before those of the dimensions.
const FIXED: usize = 10;
const TEAM: &str = "meta.te.am 🙂";

async fn world(store: &Store) -> World {
    let mut world = store.world().await;
    world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    world
}

/// Waits until attribution has so many events of a range.
async fn folded(service: &Service, org: Uuid, start: DateTime<Utc>, events: usize) {
    let path =
        format!("/analytics/v1/orgs/{org}/attribution?groupBy=modelId&start={}", start.format("%Y-%m-%dT%H:%M:%SZ"));
    eventually("all is folded", async || {
        let (status, page) = service.get(&path, &finance(service, org)).await;
        (status == 200 && page["totals"]["invocations"] == events).then_some(())
    })
    .await;
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_hms_opt(0, 0, 0).unwrap().and_utc()
}

/// What a row has: kind, values (none where they are unset), sums.
type Rows = BTreeMap<(String, String, Vec<Option<String>>), Sums>;

fn rows(file: &[u8], dimensions: &[&str]) -> Rows {
    let records = records(file);
    let (header, records) = records.split_first().unwrap();
    assert_eq!(header[..4], ["org_id", "bucket_start", "granularity", "row_kind"]);
    let columns: Vec<&str> = dimensions.iter().map(|name| column(name)).collect();
    assert_eq!(header[FIXED..FIXED + columns.len()], columns);
    assert_eq!(header[FIXED + columns.len()], "unset");
    let mut found = Rows::new();
    for record in records {
        assert_eq!(record[0], ORG.to_string());
        let unset: Vec<&str> = record[FIXED + columns.len()].split(',').collect();
        let value = |(n, column): (usize, &&str)| (!unset.contains(column)).then(|| record[FIXED + n].clone());
        let key = if record[3] == "overflow" { Vec::new() } else { columns.iter().enumerate().map(value).collect() };
        let number = |n: usize| record[n].parse().unwrap();
        let sums = (number(4), number(5), number(7), number(8), record[9].parse().unwrap());
        let known = found.insert((record[1].clone(), record[3].clone(), key), sums);
        assert_eq!(known, None, "{record:?}");
    }
    found
}

fn column(dimension: &str) -> &str {
    match dimension {
        "modelId" => "model_id",
        "clientId" => "client_id",
        "actorId" => "actor_id",
        "errorCode" => "error_code",
        other => other,
    }
}

fn expected(events: &[Event], granularity: &str, dimensions: &[&str], passes: impl Fn(&Event) -> bool) -> Rows {
    let mut rows = Rows::new();
    for event in events.iter().filter(|event| passes(event)) {
        let at = event.occurred_at;
        let start = match granularity {
            "hourly" => at.format("%Y-%m-%dT%H:00:00Z"),
            "daily" => at.format("%Y-%m-%dT00:00:00Z"),
            _ => at.format("%Y-%m-01T00:00:00Z"),
        };
        // As a spreadsheet may have it.
        let value = |name: &&str| {
            value_of(event, name).map(|value| analytics_service::domain::export::csv::neutral(&value).into_owned())
        };
        let key: Vec<Option<String>> = dimensions.iter().map(value).collect();
        let kind = if key.iter().all(Option::is_none) { "unattributed" } else { "group" };
        let sum = rows.entry((start.to_string(), kind.to_owned(), key)).or_default();
        *sum = add(*sum, of_event(event));
    }
    rows
}

#[tokio::test]
async fn a_file_by_dimensions_has_usages_sums() {
    let store = Store::Local(LocalStore::new());
    let world = world(&store).await;
    let service = world.serve().await;
    let now = Utc::now();
    // Of the month that was over last, and of the days before today.
    let last_month = midnight(now.date_naive().with_day(1).unwrap()) - TimeDelta::days(2);
    let mut sent = events(ORG, 500, now);
    let model = Uuid::from_u128(1);
    sent.extend(events(ORG, 300, last_month));
    world.send(sent.iter().map(body)).await;
    settled(&mut world.connect().await, 800).await;
    let today = midnight(now.date_naive());
    let first = midnight(last_month.date_naive().with_day(1).unwrap());
    folded(&service, ORG, first - TimeDelta::days(31), sent.len()).await;
    let named = format!("/analytics/v1/orgs/{ORG}/names/clientId/web");
    let token = service.token(&[ORG], &[analytics_service::auth::Role::OrgAdmin]);
    assert_eq!(service.put(&named, &token, br#"{"name": "=Web"}"#.to_vec()).await.0, 200);

    let weeks = (today - Days::new(20), today);
    let month = (first, midnight(now.date_naive().with_day(1).unwrap()));
    let hours = (today - Days::new(3), today + TimeDelta::hours(i64::from(chrono::Timelike::hour(&now))));
    for (granularity, (start, end), dimensions, models) in [
        ("daily", weeks, &["clientId"][..], &[][..]),
        ("daily", weeks, &["status", "errorCode", "clientId"], &[]),
        ("daily", weeks, &[TEAM, "clientId"], &[model]),
        ("daily", weeks, &["actorId"], &[]),
        ("monthly", month, &["modelId", TEAM], &[]),
        ("monthly", month, &["errorCode"], &[model]),
        ("hourly", hours, &["clientId", "modelId"], &[]),
    ] {
        if start == end {
            continue;
        }
        let range = json!({"start": start, "end": end});
        let request = json!({"timeRange": range, "granularity": granularity, "groupBy": dimensions, "models": models});
        let job = made(&service, ORG, &request).await;
        assert_eq!(job["groupBy"], json!(dimensions));
        let file = download(&service, ORG, &job).await;
        let found = rows(&file, dimensions);
        let passes = |event: &Event| {
            start <= event.occurred_at
                && event.occurred_at < end
                && (models.is_empty() || models.contains(&event.model_id))
        };
        assert_eq!(found, expected(&sent, granularity, dimensions, passes), "{granularity} {dimensions:?}");
        // The job's totals are the file's, and usage's.
        assert_eq!(found.values().copied().reduce(add).unwrap_or_default(), of_json(&job["totals"]));
        let mut usage = format!(
            "/analytics/v1/orgs/{ORG}/usage?start={}&end={}&granularity={}",
            start.format("%Y-%m-%dT%H:%M:%SZ"),
            end.format("%Y-%m-%dT%H:%M:%SZ"),
            if granularity == "hourly" { "hour" } else { "day" },
        );
        usage.extend(models.iter().map(|model| format!("&modelId={model}")));
        let (_, usage) = service.get(&usage, &token).await;
        for name in ["invocations", "inputTokens", "outputTokens", "costEstimateCents"] {
            assert_eq!(job["totals"][name], usage["totals"][name], "{granularity} {dimensions:?} {name}");
        }
        let (status, checked) =
            service.post(&path(ORG, &format!("/{}/verify", id(&job))), &finance(&service, ORG), Vec::new()).await;
        assert_eq!(
            (status.as_u16(), &checked["holds"], &checked["verdict"]),
            (200, &json!(true), &json!("same")),
            "{checked}"
        );
    }

    // The same rows are the same bytes; names are columns of their own.
    let of = |names: bool| {
        json!({
            "timeRange": {"start": weeks.0, "end": weeks.1}, "groupBy": ["clientId", "status"], "names": names,
        })
    };
    let job = made(&service, ORG, &of(false)).await;
    let file = download(&service, ORG, &job).await;
    assert_eq!(file, download(&service, ORG, &made(&service, ORG, &of(false)).await).await);
    let with_names = made(&service, ORG, &of(true)).await;
    assert_eq!((&with_names["names"], &with_names["totals"]), (&json!(true), &job["totals"]));
    let with_names = records(&download(&service, ORG, &with_names).await);
    assert_eq!(with_names[0].last().unwrap(), "name.client_id");
    assert!(with_names[1..].iter().all(|row| (row[FIXED] == "web") == (row.last().unwrap() == "'=Web")));
    let without: Vec<Vec<String>> = with_names
        .into_iter()
        .map(|mut row| {
            row.pop();
            row
        })
        .collect();
    assert_eq!(without, records(&file));
    let manifest = store.content(&format!("analytics/exports/{ORG}/{}.csv.manifest.json", id(&job))).await;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["groupBy"], &manifest["totals"]), (&json!(["clientId", "status"]), &job["totals"]));
    assert_eq!(manifest["asOf"], job["asOf"]);
    // By model, with names at the end.
    let plain = made(&service, ORG, &json!({"timeRange": {"start": weeks.0, "end": weeks.1}, "names": true})).await;
    let plain = records(&download(&service, ORG, &plain).await);
    assert_eq!((plain[0].len(), plain[0].last().unwrap().as_str()), (14, "name.model_id"));
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn lost_names_are_rows_of_overflow() {
    let store = Store::Local(LocalStore::new());
    let mut world = world(&store).await;
    world.set("ANALYTICS__ATTRIBUTION__MAX_KEYS", "100");
    let service = world.serve().await;
    let now = Utc::now();
    let at = midnight(now.date_naive()) - TimeDelta::hours(30);
    let mut sent = events(ORG, 300, now);
    for (n, event) in sent.iter_mut().enumerate() {
        // One is called what rows of overflow are.
        event.client_id = Some(if n == 0 { "overflow".to_owned() } else { format!("client-{n}") });
        event.occurred_at = at;
    }
    world.send(sent.iter().map(body)).await;
    settled(&mut world.connect().await, 300).await;
    folded(&service, ORG, at - TimeDelta::days(1), 300).await;
    let job = made(&service, ORG, &json!({"timeRange": super::days(3), "groupBy": ["clientId"]})).await;
    let found = rows(&download(&service, ORG, &job).await, &["clientId"]);
    let kinds =
        |kind: &str| found.iter().filter(|((_, of, _), _)| of == kind).map(|(_, sums)| sums.0).collect::<Vec<_>>();
    assert_eq!((kinds("group").len(), kinds("overflow")), (100, vec![200]));
    let all: Sums = sent.iter().map(of_event).reduce(add).unwrap();
    assert_eq!((found.values().copied().reduce(add).unwrap(), of_json(&job["totals"])), (all, all));
    let cost: Decimal = all.4;
    assert!(cost > Decimal::ZERO);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn late_events_are_in_the_next_file() {
    let store = Store::Local(LocalStore::new());
    let world = world(&store).await;
    let service = world.serve().await;
    let now = Utc::now();
    let sent = events(ORG, 200, now - TimeDelta::days(1));
    let (first, late) = sent.split_at(150);
    world.send(first.iter().map(body)).await;
    settled(&mut world.connect().await, 150).await;
    let start = now - TimeDelta::days(25);
    folded(&service, ORG, start, 150).await;
    let request = json!({"timeRange": super::days(25), "groupBy": ["clientId"]});
    let of_range = |events: &[Event]| {
        let end = midnight(now.date_naive());
        expected(events, "daily", &["clientId"], |event| event.occurred_at < end)
    };
    let before = made(&service, ORG, &request).await;
    assert_eq!(rows(&download(&service, ORG, &before).await, &["clientId"]), of_range(first));
    // Days that are final, and whose parts are put together.
    world.report(&["maintain"]).await;
    world.send(late.iter().map(body)).await;
    settled(&mut world.connect().await, 200).await;
    folded(&service, ORG, start, 200).await;
    let after = made(&service, ORG, &request).await;
    assert_eq!(rows(&download(&service, ORG, &after).await, &["clientId"]), of_range(&sent));
    // The first file differs from what is known now, and there is a reason.
    let (checked, code) = command(&world, &["verify", "--export", before["jobId"].as_str().unwrap()]).await;
    assert_eq!(code, 0, "{checked}");
    assert!(["revised", "madeBeforeFinal"].contains(&checked["verdict"].as_str().unwrap()), "{checked}");
    let (checked, code) = command(&world, &["verify", "--export", after["jobId"].as_str().unwrap()]).await;
    assert_eq!((code, &checked["verdict"]), (0, &json!("same")), "{checked}");
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn combinations_that_no_set_has_are_refused() {
    let store = Store::Local(LocalStore::new());
    let world = world(&store).await;
    let service = world.serve().await;
    folded(&service, ORG, Utc::now() - TimeDelta::days(1), 0).await;
    for lacking in [json!(["actorId", "clientId"]), json!(["meta.other"])] {
        let request = json!({"timeRange": super::days(2), "groupBy": lacking}).to_string();
        let (status, problem) = service.post(&path(ORG, ""), &finance(&service, ORG), request.into_bytes()).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("groupBy")), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("actorId,modelId"), "{problem}");
    }
    // A build that does not know dimensions gets no such job.
    let mut conn = world.connect().await;
    let job = made(&service, ORG, &json!({"timeRange": super::days(2), "groupBy": ["clientId"]})).await;
    assert_eq!(job["rowCount"], 0);
    assert_eq!(service.terminate().await, Some(0));
    let claimed = sqlx::query(
        "UPDATE analytics.export_jobs
         SET status = 'running', claim_id = gen_random_uuid(), completed_at = NULL WHERE job_id = $1 RETURNING job_id",
    );
    let claimed = claimed.bind(id(&job)).fetch_optional(&mut conn).await.unwrap();
    assert!(claimed.is_none());
}

#[tokio::test]
async fn an_erased_person_is_in_no_file() {
    for store in Store::both() {
        let world = world(&store).await;
        let service = world.serve().await;
        let now = Utc::now();
        let sent = events(ORG, 200, now);
        world.send(sent.iter().map(body)).await;
        settled(&mut world.connect().await, 200).await;
        folded(&service, ORG, now - TimeDelta::days(25), 200).await;
        let person = sent.iter().find_map(|event| event.actor_id).unwrap();
        let request = |dimension: &str| json!({"timeRange": super::days(25), "groupBy": [dimension]});
        let by_person = made(&service, ORG, &request("actorId")).await;
        let by_client = made(&service, ORG, &request("clientId")).await;
        // Of a day without events.
        let ago = |days: u64| (now.date_naive() - Days::new(days)).to_string();
        let empty = json!({"timeRange": {"start": ago(40), "end": ago(39)}, "groupBy": ["actorId"]});
        let empty = made(&service, ORG, &empty).await;
        assert!(String::from_utf8_lossy(&download(&service, ORG, &by_person).await).contains(&person.to_string()));
        let actor = person.to_string();
        let before = world.report(&["erase", "--actor", &actor, "--dry-run"]).await;
        assert_eq!(before["left"]["exports"], 1, "{before}");
        let report = world.report(&["erase", "--actor", &actor, "--yes"]).await;
        let numbers = [&report["removed"]["exports"], &report["removed"]["exportObjects"], &report["left"]["exports"]];
        assert_eq!(numbers, [1, 2, 0], "{report}");
        assert_eq!(super::get(&service, ORG, id(&by_person)).await["status"], "expired");
        let left: Vec<String> = [&by_client, &empty].map(|job| id(job).to_string()).into();
        let keys = store.keys().await;
        assert!(keys.len() == 4 && left.iter().all(|job| keys.iter().any(|key| key.contains(job))), "{keys:?}");
        let again = made(&service, ORG, &request("actorId")).await;
        assert!(!String::from_utf8_lossy(&download(&service, ORG, &again).await).contains(&actor));
        assert_eq!(service.terminate().await, Some(0));
    }
}
