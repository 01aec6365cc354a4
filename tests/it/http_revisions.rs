//! Buckets that change after they were final: what changes with a late event, what does not, and what is said of it.

use std::collections::BTreeMap;

use analytics_service::auth::Role;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{Service, World, decimal, settled};

/// An org with events of a month ago and of now, which came before anything was final, and another org.
struct Scene {
    world: World,
    service: Service,
    conn: PgConnection,
    org: Uuid,
    other: Uuid,
    models: [Uuid; 2],
    /// An hour of a month ago.
    hour: DateTime<Utc>,
    sent: i64,
}

/// Of a bucket: where it begins and of which model.
type Place = (String, String);
/// Invocations, input and output tokens, cost.
type Amounts = (i64, i64, i64, Decimal);

impl Scene {
    async fn new() -> Self {
        let mut world = World::new(1).await;
        // What is sent before the service starts is one batch, merged at once: nothing is final before it.
        world.set("ANALYTICS__BATCH__LINGER_MS", "500");
        let [org, other] = [(); 2].map(|()| Uuid::new_v4());
        let mut models = [(); 2].map(|()| Uuid::new_v4());
        models.sort_unstable();
        let hour = Utc::now().date_naive().and_hms_opt(10, 0, 0).unwrap().and_utc() - TimeDelta::days(30);
        let mut bodies = Vec::new();
        for org in [org, other] {
            for model in models {
                bodies.extend((0..3).map(|n| event(org, model, hour + TimeDelta::hours(n), 1)));
                bodies.push(event(org, model, Utc::now(), 1));
            }
        }
        let sent = i64::try_from(bodies.len()).unwrap();
        world.send(bodies).await;
        let service = world.serve().await;
        let conn = world.connect().await;
        let mut scene = Self { world, service, conn, org, other, models, hour, sent };
        settled(&mut scene.conn, sent).await;
        scene.world.forget_revisions().await;
        scene
    }

    /// Sends an event, and waits until it is merged.
    async fn add(&mut self, model: Uuid, at: DateTime<Utc>, n: i64) {
        self.world.send([event(self.org, model, at, n)]).await;
        self.sent += 1;
        settled(&mut self.conn, self.sent).await;
    }

    async fn ask(&self, org: Uuid, what: &str, query: &str) -> Value {
        let token = self.service.token(&[org], &[Role::Finance]);
        let path = format!("/analytics/v1/orgs/{org}/{what}?{}&{query}", self.range());
        let (status, answer) = self.service.get(&path, &token).await;
        assert_eq!(status, 200, "{path} {answer}");
        answer
    }

    fn range(&self) -> String {
        format!("start={}&end={}", text(self.hour - TimeDelta::days(1)), text(Utc::now() + TimeDelta::hours(1)))
    }

    async fn revisions(&self, query: &str) -> Vec<Value> {
        self.ask(self.org, "revisions", query).await["revisions"].as_array().unwrap().clone()
    }

    /// Every point of an org.
    async fn points(&self, org: Uuid, granularity: &str) -> BTreeMap<Place, Amounts> {
        let answer = self.ask(org, "usage", &format!("groupBy=model&granularity={granularity}")).await;
        let point = |point: &Value| {
            let word = |name: &str| point[name].as_str().unwrap().to_owned();
            ((word("bucketStart"), word("modelId")), amounts(point))
        };
        answer["series"].as_array().unwrap().iter().map(point).collect()
    }
}

/// An event whose amounts are multiples of `n`.
fn event(org: Uuid, model: Uuid, at: DateTime<Utc>, n: i64) -> Vec<u8> {
    let event = json!({
        "eventId": Uuid::new_v4(), "orgId": org, "modelId": model, "occurredAt": at, "status": "success", "latencyMs": 5,
        "inputTokens": 3 * n, "outputTokens": 7 * n, "costEstimateCents": n,
    });
    event.to_string().into_bytes()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn amounts(of: &Value) -> Amounts {
    let int = |name: &str| of[name].as_i64().unwrap();
    (int("invocations"), int("inputTokens"), int("outputTokens"), decimal(&of["costEstimateCents"]))
}

/// What `later` has otherwise than `earlier`, with what that was.
fn changed(earlier: &BTreeMap<Place, Amounts>, later: &BTreeMap<Place, Amounts>) -> Vec<(Place, Amounts, Amounts)> {
    assert_eq!(earlier.keys().collect::<Vec<_>>(), later.keys().collect::<Vec<_>>());
    let pairs = earlier.iter().filter(|(place, amounts)| later[*place] != **amounts);
    pairs.map(|(place, amounts)| (place.clone(), *amounts, later[place])).collect()
}

#[tokio::test]
async fn a_late_event_revises_only_its_bucket() {
    let mut scene = Scene::new().await;
    let (org, hour, model) = (scene.org, scene.hour, scene.models[0]);
    assert_eq!(scene.revisions("").await, Vec::<Value>::new(), "nothing was final when its event came");
    let before = [scene.points(org, "hour").await, scene.points(org, "day").await];
    let others = scene.points(scene.other, "hour").await;
    scene.add(model, hour + TimeDelta::minutes(59), 10).await;
    let after = [scene.points(org, "hour").await, scene.points(org, "day").await];
    let day = hour.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    for ((before, after), start) in before.iter().zip(&after).zip([hour, day]) {
        let found = changed(before, after);
        let [(place, was, is)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(*place, (text(start), model.to_string()));
        assert_eq!(*is, (was.0 + 1, was.1 + 30, was.2 + 70, was.3 + Decimal::from(10)));
    }
    assert_eq!(scene.points(scene.other, "hour").await, others);
    let found = scene.revisions("").await;
    let [revision] = found.as_slice() else { panic!("{found:?}") };
    let place = (text(hour), model.to_string());
    assert_eq!((&revision["bucketStart"], &revision["modelId"]), (&json!(place.0), &json!(place.1)));
    assert_eq!((&revision["reason"], &revision["changes"]), (&json!("late"), &json!(1)));
    assert_eq!((amounts(&revision["before"]), amounts(&revision["after"])), (before[0][&place], after[0][&place]));
    let revised_at: DateTime<Utc> = revision["revisedAt"].as_str().unwrap().parse().unwrap();
    assert!((Utc::now() - revised_at).abs() < TimeDelta::minutes(2), "{revised_at}");

    // Nobody else sees it: not in one's own response, nor by requesting another's.
    assert_eq!(scene.ask(scene.other, "revisions", "").await["revisions"], json!([]));
    let token = scene.service.token(&[scene.other], &[Role::OrgAdmin]);
    let path = format!("/analytics/v1/orgs/{org}/revisions?{}", scene.range());
    assert_eq!(scene.service.get(&path, &token).await.0, 403);
}

#[tokio::test]
async fn late_events_of_an_hour_share_a_revision() {
    let mut scene = Scene::new().await;
    let (org, hour, model) = (scene.org, scene.hour, scene.models[1]);
    let place = (text(hour), model.to_string());
    let before = scene.points(org, "hour").await[&place];
    scene.add(model, hour, 2).await;
    let between = scene.points(org, "hour").await[&place];
    scene.add(model, hour + TimeDelta::minutes(30), 5).await;
    let after = scene.points(org, "hour").await[&place];
    assert_eq!((between.0 - before.0, after.0 - between.0, after.1 - before.1), (1, 1, 21));
    let found = scene.revisions("").await;
    let spans =
        |revision: &Value| (amounts(&revision["before"]), amounts(&revision["after"]), revision["changes"].clone());
    match found.as_slice() {
        [both] => assert_eq!(spans(both), (before, after, json!(2))),
        // The clock's hour turned between the two.
        [second, first] => {
            assert_eq!(spans(first), (before, between, json!(1)));
            assert_eq!(spans(second), (between, after, json!(1)));
            let turned = |revision: &Value| {
                let at: DateTime<Utc> = revision["revisedAt"].as_str().unwrap().parse().unwrap();
                at.timestamp() / 3600
            };
            assert!(turned(first) < turned(second), "{found:?}");
        }
        _ => panic!("{found:?}"),
    }
}

#[tokio::test]
async fn revisions_are_newest_first_of_final_buckets() {
    let mut scene = Scene::new().await;
    let (hour, [first, second]) = (scene.hour, scene.models);
    for (model, hours) in [(second, 2), (first, 0), (second, 0), (first, 1)] {
        scene.add(model, hour + TimeDelta::hours(hours), 1).await;
    }
    // Of an hour that is not final yet.
    scene.add(first, Utc::now(), 1).await;
    let place = |revision: &Value| {
        let start: DateTime<Utc> = revision["bucketStart"].as_str().unwrap().parse().unwrap();
        (revision["modelId"].as_str().unwrap().parse::<Uuid>().unwrap(), (start - hour).num_hours())
    };
    let expected = [(first, 1), (second, 0), (first, 0), (second, 2)];
    assert_eq!(scene.revisions("").await.iter().map(place).collect::<Vec<_>>(), expected);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = scene.ask(scene.org, "revisions", &format!("limit=1{cursor}")).await;
        found.extend(page["revisions"].as_array().unwrap().iter().map(place));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, expected);
    let of = async |query: String| scene.revisions(&query).await.iter().map(place).collect::<Vec<_>>();
    assert_eq!(of(format!("modelId={first}")).await, [(first, 1), (first, 0)]);
    assert_eq!(of("reason=late".into()).await, expected);
    assert_eq!(of("reason=erasure".into()).await, []);
    let token = scene.service.token(&[scene.org], &[Role::OrgViewer]);
    let within = format!("start={}&end={}", text(hour + TimeDelta::minutes(70)), text(hour + TimeDelta::hours(2)));
    let path = format!("/analytics/v1/orgs/{}/revisions?{within}", scene.org);
    let answer = scene.service.get(&path, &token).await.1;
    assert_eq!(answer["revisions"].as_array().unwrap().iter().map(place).collect::<Vec<_>>(), [(first, 1)]);
    let range = json!({"start": text(hour + TimeDelta::hours(1)), "end": text(hour + TimeDelta::hours(2))});
    assert_eq!(answer["range"], range);
    assert!(answer["asOf"].is_string(), "{answer}");
}

/// Publishes a message to the first partition without any property, as a simple client does.
async fn send_without_time(world: &World, body: &[u8]) {
    let broker = &world.settings.broker;
    let connection = analytics_service::broker::connect(broker, "tests").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
    let (stream, none) = (broker.stream.as_str(), lapin::options::BasicPublishOptions::default());
    let confirm = channel.basic_publish("".into(), stream.into(), none, body, lapin::BasicProperties::default()).await;
    assert!(confirm.unwrap().await.unwrap().is_ack());
    analytics_service::broker::close(&connection, broker).await;
}

#[tokio::test]
async fn revisions_and_ledger_agree_on_lateness() {
    let mut scene = Scene::new().await;
    // Only when the hour is known to be final.
    let late = async |scene: &mut Scene| {
        let ledger =
            format!("start={}&end={}", text(Utc::now() - TimeDelta::hours(2)), text(Utc::now() + TimeDelta::hours(1)));
        let token = scene.service.token(&[scene.org], &[Role::Finance]);
        let (_, answer) = scene.service.get(&format!("/analytics/v1/orgs/{}/ledger?{ledger}", scene.org), &token).await;
        answer["totals"]["late"].as_i64().unwrap()
    };
    let before = late(&mut scene).await;
    let body = event(scene.org, scene.models[0], scene.hour + TimeDelta::minutes(30), 1);
    send_without_time(&scene.world, &body).await;
    scene.sent += 1;
    settled(&mut scene.conn, scene.sent).await;
    let revisions = scene.revisions("reason=late").await;
    assert_eq!(revisions.len(), 1, "{revisions:?}");
    assert_eq!(late(&mut scene).await, before + 1, "late is late");
}
