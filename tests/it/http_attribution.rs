//! Attribution over HTTP: held against the events themselves, and against usage.

use std::collections::BTreeMap;

use analytics_service::{
    auth::Role,
    domain::{
        event::{Event, Metadata, Status},
        money::Cents,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Url;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Service, World, decimal, eventually, settled},
    store_commit::{body, event},
};

const CLIENTS: [&str; 6] = ["web", "batch", "", "a/b \"🙂\"", "=1+1", "null"];
const TEAMS: [&str; 3] = ["search", "o'neil", "ops"];
pub const SETS: &str =
    "clientId,modelId; status,errorCode,clientId,modelId; actorId,modelId; meta.te.am 🙂,clientId,modelId";

/// Numbers that look random and are the same each time.
fn random(n: u64, of: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ of.wrapping_mul(0xD1B5_4A32_D192_ED03);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

pub fn events(org: Uuid, count: u64, now: DateTime<Utc>) -> Vec<Event> {
    let pick = |n, of, below| random(n, of) % below;
    let one = |n: u64| {
        let minutes = i64::try_from(pick(n, 1, 20 * 24 * 60)).unwrap();
        let status = Status::ALL[usize::try_from(pick(n, 2, 4)).unwrap()];
        let text = |of, all: &[&str]| all.get(usize::try_from(pick(n, of, 8)).unwrap()).map(|text| (*text).to_owned());
        Event {
            org_id: org,
            event_id: Uuid::new_v4(),
            model_id: Uuid::from_u128(u128::from(pick(n, 3, 3))),
            actor_id: (pick(n, 4, 4) > 0).then(|| Uuid::from_u128(u128::from(pick(n, 5, 5)) + 100)),
            client_id: text(6, &CLIENTS),
            status,
            error_code: if status == Status::Success { None } else { text(7, &["overloaded", "quota", "E\u{1}"]) },
            input_tokens: u32::try_from(pick(n, 8, 1000)).unwrap(),
            output_tokens: u32::try_from(pick(n, 9, 1000)).unwrap(),
            cost_estimate_cents: Cents::from_units(i128::from(random(n, 10))),
            metadata: text(11, &TEAMS).map(|team| Metadata::from([("te.am 🙂".to_owned(), team)])),
            ..event(0, 0, now - TimeDelta::minutes(minutes))
        }
    };
    (0..count).map(one).collect()
}

/// Invocations, errors, tokens in and out, cost.
pub type Sums = (u64, u64, u64, u64, Decimal);

pub fn of_event(event: &Event) -> Sums {
    let errors = u64::from(event.status != Status::Success);
    let cost = event.cost_estimate_cents.to_string().parse().unwrap();
    (1, errors, event.input_tokens.into(), event.output_tokens.into(), cost)
}

pub fn of_json(totals: &Value) -> Sums {
    let number = |name: &str| totals[name].as_u64().unwrap();
    let cost = decimal(&totals["costEstimateCents"]);
    (number("invocations"), number("errors"), number("inputTokens"), number("outputTokens"), cost)
}

pub fn add(sum: Sums, other: Sums) -> Sums {
    (sum.0 + other.0, sum.1 + other.1, sum.2 + other.2, sum.3 + other.3, sum.4 + other.4)
}

pub fn value_of(event: &Event, dimension: &str) -> Option<String> {
    match dimension {
        "modelId" => Some(event.model_id.to_string()),
        "clientId" => event.client_id.clone(),
        "actorId" => event.actor_id.map(|id| id.to_string()),
        "status" => Some(event.status.to_string()),
        "errorCode" => event.error_code.clone(),
        _ => {
            let metadata: Value = serde_json::from_str(event.metadata.as_ref()?.as_json()).unwrap();
            metadata[dimension.strip_prefix("meta.").unwrap()].as_str().map(str::to_owned)
        }
    }
}

pub type Groups = BTreeMap<Vec<Option<String>>, Sums>;

/// A request for attribution, with its parameters.
#[derive(Clone)]
pub struct Request {
    pub org: Uuid,
    pub token: String,
    pub params: Vec<(String, String)>,
}

impl Request {
    pub fn with(&self, params: &[(&str, &str)]) -> Self {
        let mut with = self.clone();
        with.params.extend(params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        with
    }

    pub async fn send(&self, service: &Service, what: &str) -> (u16, Value) {
        let url = Url::parse_with_params("http://host", &self.params).unwrap();
        let path = format!("/analytics/v1/orgs/{}/{what}?{}", self.org, url.query().unwrap());
        let (status, answer) = service.get(&path, &self.token).await;
        (status.as_u16(), answer)
    }

    pub async fn page(&self, service: &Service) -> Value {
        let (status, page) = self.send(service, "attribution").await;
        assert_eq!(status, 200, "{:?} {page}", self.params);
        page
    }

    /// The groups of all pages. On each page everything adds up.
    pub async fn all(&self, service: &Service, group_by: &[&str]) -> (Groups, Value) {
        let mut groups = Groups::new();
        let mut request = self.with(&[("top", "4")]);
        request = request.with(&group_by.iter().map(|name| ("groupBy", *name)).collect::<Vec<_>>());
        let mut cursor: Option<String> = None;
        loop {
            let paged = match &cursor {
                Some(cursor) => request.with(&[("cursor", cursor)]),
                None => request.clone(),
            };
            let page = paged.page(service).await;
            for group in page["groups"].as_array().unwrap() {
                let value = |name: &&str| group["key"][*name].as_str().map(str::to_owned);
                let known = groups.insert(group_by.iter().map(value).collect(), of_json(&group["totals"]));
                assert_eq!((known, group["rank"].as_u64()), (None, Some(groups.len() as u64)));
                if let Some(series) = group.get("series") {
                    let points = series.as_array().unwrap().iter().map(of_json);
                    assert_eq!(points.reduce(add).unwrap(), of_json(&group["totals"]), "{group}");
                }
            }
            let rest = ["other", "unattributed", "overflow"].map(|part| of_json(&page[part]["totals"]));
            let parts = groups.values().copied().chain(rest).reduce(add).unwrap();
            assert_eq!(parts, of_json(&page["totals"]), "{page}");
            match page["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return (groups, page),
            }
        }
    }
}

/// What the events add up to that pass.
pub fn expected(events: &[Event], group_by: &[&str], passes: impl Fn(&Event) -> bool) -> Groups {
    let mut groups = Groups::new();
    for event in events.iter().filter(|event| passes(event)) {
        let key = group_by.iter().map(|name| value_of(event, name)).collect();
        let sum = groups.entry(key).or_default();
        *sum = add(*sum, of_event(event));
    }
    groups
}

pub async fn complete(service: &Service, request: &Request, events: usize) {
    eventually("all is folded", async || {
        // Before the history of the sets is counted, their beginning is refused.
        let (status, page) = request.with(&[("groupBy", "modelId")]).send(service, "attribution").await;
        (status == 200 && page["totals"]["invocations"] == events).then_some(())
    })
    .await;
    let plain = Request { params: Vec::new(), ..request.clone() };
    eventually("the other sets reach as far back", async || {
        let (status, known) = plain.send(service, "attribution/dimensions").await;
        assert_eq!(status, 200, "{known}");
        let sets = known["sets"].as_array().unwrap();
        sets.iter().all(|set| set["completeFrom"] == sets[0]["completeFrom"]).then_some(())
    })
    .await;
}

/// A world with these sets, which are brought up to date each second.
pub async fn world() -> World {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    world
}

#[tokio::test]
async fn the_parts_are_the_total_and_usages() {
    let world = world().await;
    let service = world.serve().await;
    let (org, now) = (Uuid::new_v4(), Utc::now());
    let events = events(org, 900, now);
    world.send(events.iter().map(body)).await;
    settled(&mut world.connect().await, 900).await;
    let day = |days: i64| (now + TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    let request = Request { org, token: service.token(&[org], &[Role::OrgViewer]), params: Vec::new() };
    let range = |from: i64, to: i64| request.with(&[("start", &day(from)), ("end", &day(to))]);
    let all = range(-21, 2);
    complete(&service, &all, events.len()).await;

    for group_by in [
        &["clientId"][..],
        &["modelId"],
        &["actorId", "modelId"],
        &["meta.te.am 🙂", "clientId"],
        &["errorCode", "status", "clientId"],
    ] {
        let (groups, last) = all.all(&service, group_by).await;
        let mut expected = expected(&events, group_by, |_| true);
        let unattributed = expected.remove(&vec![None; group_by.len()]).unwrap_or_default();
        assert_eq!(groups, expected, "{group_by:?}");
        assert_eq!(of_json(&last["unattributed"]["totals"]), unattributed, "{group_by:?}");
        assert_eq!(
            (&last["rankingExact"], last["overflow"]["totals"]["invocations"].as_u64()),
            (&json!(true), Some(0))
        );
    }

    let model = Uuid::from_u128(1).to_string();
    for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata"] {
        for granularity in ["none", "month", "day", "hour"] {
            for (from, to) in [(-21, 2), (-9, -3)] {
                let request = range(from, to).with(&[("timezone", zone), ("modelId", &model)]);
                let (_, last) = request.with(&[("granularity", granularity)]).all(&service, &["clientId"]).await;
                let usage_of = if granularity == "hour" { "hour" } else { "day" };
                // The same range: months begin before it.
                let used = |end: &str| ("end", last["range"][end].as_str().unwrap().to_owned());
                let (start, end) = (used("start").1, used("end").1);
                let same = [("start", start.as_str()), ("end", &end), ("timezone", zone), ("modelId", &model)];
                let usage = Request { params: Vec::new(), ..request.clone() };
                let (status, usage) =
                    usage.with(&same).with(&[("granularity", usage_of)]).send(&service, "usage").await;
                assert_eq!(status, 200, "{usage}");
                for name in ["invocations", "inputTokens", "outputTokens", "costEstimateCents"] {
                    assert_eq!(last["totals"][name], usage["totals"][name], "{zone} {granularity} {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn filters_are_by_value_and_by_absence() {
    let world = world().await;
    let service = world.serve().await;
    let (org, now) = (Uuid::new_v4(), Utc::now());
    let events = events(org, 600, now);
    world.send(events.iter().map(body)).await;
    settled(&mut world.connect().await, 600).await;
    let request = Request { org, token: service.token(&[org], &[Role::Finance]), params: Vec::new() };
    let start = (now - TimeDelta::days(21)).format("%Y-%m-%d").to_string();
    let all = request.with(&[("start", &start)]);
    complete(&service, &all, events.len()).await;
    let is = |event: &Event, name: &str, value: &str| value_of(event, name).as_deref() == Some(value);

    let (groups, last) = all.with(&[("clientId", "web"), ("clientId", "")]).all(&service, &["modelId"]).await;
    let passes = |event: &Event| is(event, "clientId", "web") || is(event, "clientId", "");
    assert_eq!(groups, expected(&events, &["modelId"], passes));
    assert_eq!(last["unattributed"]["totals"]["invocations"], 0);

    let filtered = all.with(&[("unset", "meta.te.am 🙂"), ("meta.te.am 🙂", "o'neil"), ("clientId", "a/b \"🙂\"")]);
    let (groups, _) = filtered.all(&service, &["modelId"]).await;
    let team = "meta.te.am 🙂";
    let passes = |event: &Event| {
        is(event, "clientId", "a/b \"🙂\"") && (value_of(event, team).is_none() || is(event, team, "o'neil"))
    };
    assert_eq!(groups, expected(&events, &["modelId"], passes));

    let (groups, last) = all.with(&[("unset", "errorCode"), ("status", "error")]).all(&service, &["clientId"]).await;
    let mut expected = expected(&events, &["clientId"], |event| {
        is(event, "status", "error") && value_of(event, "errorCode").is_none()
    });
    let unattributed = expected.remove(&vec![None]).unwrap();
    assert_eq!((groups, of_json(&last["unattributed"]["totals"])), (expected, unattributed));

    let (none, last) = all.with(&[("clientId", "nobody")]).all(&service, &["modelId"]).await;
    assert_eq!((none.len(), last["totals"]["invocations"].as_u64()), (0, Some(0)));

    for lacking in [&["actorId", "clientId"][..], &["meta.other"], &["meta.te.am 🙂", "status"]] {
        let params: Vec<_> = lacking.iter().map(|name| ("groupBy", *name)).collect();
        let (status, problem) = all.with(&params).send(&service, "attribution").await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("groupBy")), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("actorId,modelId"), "{problem}");
    }

    let (_, sets) =
        Request { params: Vec::new(), ..request.clone() }.with(&[]).send(&service, "attribution/dimensions").await;
    assert_eq!(sets["sets"].as_array().unwrap().len(), 4, "{sets}");
    let values = request.with(&[("dimension", "clientId"), ("prefix", "b")]).send(&service, "attribution/values").await;
    assert_eq!(values.1["values"], json!([{"value": "batch"}]));
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn an_erased_person_is_in_no_group() {
    let world = world().await;
    let service = world.serve().await;
    let (org, now) = (Uuid::new_v4(), Utc::now());
    let events = events(org, 400, now);
    world.send(events.iter().map(body)).await;
    settled(&mut world.connect().await, 400).await;
    let request = Request { org, token: service.token(&[org], &[Role::OrgAdmin]), params: Vec::new() };
    let start = (now - TimeDelta::days(21)).format("%Y-%m-%d").to_string();
    let all = request.with(&[("start", &start)]);
    complete(&service, &all, events.len()).await;
    let person = events.iter().find_map(|event| event.actor_id).unwrap();
    let name = format!("/analytics/v1/orgs/{org}/names/actorId/{person}");
    assert_eq!(service.put(&name, &request.token, br#"{"name": "Ann"}"#.to_vec()).await.0, 200);
    let page = all.with(&[("groupBy", "actorId"), ("actorId", &person.to_string())]).page(&service).await;
    assert_eq!(page["groups"][0]["names"], json!({"actorId": "Ann"}), "{page}");

    let erased = world.run(&["erase", "--actor", &person.to_string(), "--yes"]).await;
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stdout));
    let others = |event: &Event| event.actor_id != Some(person);
    complete(&service, &all, events.iter().filter(|event| others(event)).count()).await;
    for group_by in [&["actorId"][..], &["clientId", "modelId"], &["meta.te.am 🙂"]] {
        let (groups, last) = all.all(&service, group_by).await;
        let mut expected = expected(&events, group_by, others);
        let unattributed = expected.remove(&vec![None; group_by.len()]).unwrap_or_default();
        assert_eq!((groups, of_json(&last["unattributed"]["totals"])), (expected, unattributed), "{group_by:?}");
    }
    let values = request.with(&[("dimension", "actorId")]).send(&service, "attribution/values").await.1;
    assert!(!values.to_string().contains(&person.to_string()), "{values}");
    assert_eq!(service.get(&name, &request.token).await.0, 404);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn beyond_the_cap_names_are_lost_and_sums_stay() {
    let mut world = world().await;
    world.set("ANALYTICS__ATTRIBUTION__MAX_KEYS", "100");
    let service = world.serve().await;
    let (org, other, now) = (Uuid::new_v4(), Uuid::new_v4(), Utc::now());
    // A client of its own for each event, on one day.
    let at = now - TimeDelta::days(2);
    let client = |n: u128| Event {
        org_id: org,
        client_id: Some(format!("client-{n}")),
        cost_estimate_cents: Cents::from_units(1_000_000_000_000 + i128::try_from(n).unwrap()),
        ..event(0, 1000 + n, at)
    };
    let mut sent: Vec<Event> = (0..300).map(client).collect();
    sent.push(Event { client_id: Some("quiet".to_owned()), ..event(other.as_u128(), 1, at) });
    world.send(sent.iter().map(body)).await;
    settled(&mut world.connect().await, 301).await;
    let request = |org: Uuid| Request {
        org,
        token: service.token(&[org], &[Role::OrgViewer]),
        params: vec![("start".to_owned(), (now - TimeDelta::days(4)).format("%Y-%m-%d").to_string())],
    };
    complete(&service, &request(org), 300).await;
    let page = request(org).with(&[("groupBy", "clientId"), ("top", "1000")]).page(&service).await;
    let groups = page["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &page["rankingExact"]), (100, &json!(false)), "{page}");
    assert_eq!(page["overflow"]["totals"]["invocations"], 200);
    let (_, usage) = request(org).send(&service, "usage").await;
    assert_eq!(page["totals"]["costEstimateCents"], usage["totals"]["costEstimateCents"]);
    let (named, lost) = (groups.iter().map(|group| of_json(&group["totals"])), of_json(&page["overflow"]["totals"]));
    assert_eq!(named.chain([lost]).reduce(add).unwrap(), of_json(&page["totals"]));

    // What is filtered by may be among what lost its name.
    let filtered = request(org).with(&[("groupBy", "modelId"), ("clientId", "client-1")]).page(&service).await;
    let (named, lost) = (&filtered["groups"], of_json(&filtered["overflow"]["totals"]));
    assert_eq!((lost.0, &filtered["rankingExact"]), (200, &json!(false)), "{named}");
    let by_model = request(org).with(&[("groupBy", "modelId")]).page(&service).await;
    assert_eq!(
        (&by_model["rankingExact"], &by_model["groups"][0]["totals"]["invocations"]),
        (&json!(true), &json!(300))
    );

    let page = request(other).with(&[("groupBy", "clientId")]).page(&service).await;
    assert_eq!((&page["groups"][0]["key"]["clientId"], &page["rankingExact"]), (&json!("quiet"), &json!(true)));
    assert_eq!(service.terminate().await, Some(0));
}
