//! Attribution over HTTP when its data changes: events that come late, and sums that are purged.

use analytics_service::{auth::Role, domain::event::Event};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Service, World, settled},
    http_attribution::{Request, add, complete, events, expected, of_json, world},
    store_commit::body,
};

async fn send(world: &World, events: &[Event], settled_at: usize) {
    world.send(events.iter().map(body)).await;
    settled(&mut world.connect().await, i64::try_from(settled_at).unwrap()).await;
}

fn day(now: DateTime<Utc>, ago: i64) -> String {
    (now - TimeDelta::days(ago)).format("%Y-%m-%d").to_string()
}

fn request(service: &Service, org: Uuid, start: &str) -> Request {
    let token = service.token(&[org], &[Role::OrgAdmin]);
    Request { org, token, params: vec![("start".to_owned(), start.to_owned())] }
}

/// All groups are those of the events, in every zone and from every size of part.
async fn assert_groups(service: &Service, request: &Request, events: &[Event], passes: impl Fn(&Event) -> bool) {
    for group_by in [&["clientId"][..], &["status", "errorCode"], &["meta.te.am 🙂", "clientId"]] {
        for zone in ["UTC", "Europe/Berlin"] {
            let (groups, last) = request.with(&[("timezone", zone)]).all(service, group_by).await;
            let mut expected = expected(events, group_by, &passes);
            let unattributed = expected.remove(&vec![None; group_by.len()]).unwrap_or_default();
            assert_eq!(groups, expected, "{group_by:?} {zone}");
            assert_eq!(of_json(&last["unattributed"]["totals"]), unattributed, "{group_by:?} {zone}");
        }
    }
}

#[tokio::test]
async fn late_events_change_what_is_final() {
    let world = world().await;
    let service = world.serve().await;
    let (org, now) = (Uuid::new_v4(), Utc::now());
    // All of them on days that are over, some 20 days back.
    let sent = events(org, 600, now - TimeDelta::days(1));
    let (first, late) = sent.split_at(500);
    send(&world, first, 500).await;
    let all = request(&service, org, &day(now, 22));
    complete(&service, &all, 500).await;
    // Days and months get parts of their own, which late events are added to.
    world.report(&["maintain"]).await;
    assert_groups(&service, &all, first, |_| true).await;
    let week = all.with(&[("groupBy", "clientId"), ("end", &day(now, 2)), ("granularity", "day")]);
    let before = week.page(&service).await;
    for (part, from) in [(&late[..30], 500), (&late[30..], 530)] {
        send(&world, part, from + part.len()).await;
        complete(&service, &all, from + part.len()).await;
    }
    assert_groups(&service, &all, &sent, |_| true).await;
    let after = week.page(&service).await;
    assert_eq!((&before["range"], after["final"].as_bool()), (&after["range"], before["final"].as_bool()));
    assert!(of_json(&after["totals"]).0 > of_json(&before["totals"]).0);
    let as_of = |page: &Value| page["asOf"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(as_of(&after) >= as_of(&before));
    // Put together once more, and the same.
    world.report(&["maintain"]).await;
    assert_groups(&service, &all, &sent, |_| true).await;
    let (_, usage) = all.with(&[("clientId", "web")]).send(&service, "usage").await;
    let web = expected(&sent, &["clientId"], |event| event.client_id.as_deref() == Some("web"));
    assert_eq!(usage["totals"]["invocations"], web.values().copied().reduce(add).unwrap().0);
    let report = world.report(&["verify"]).await;
    assert_eq!(report["holds"], true, "{report}");
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn purged_sums_are_refused_and_the_rest_is_whole() {
    let mut world = world().await;
    world.set("ANALYTICS__ATTRIBUTION__RETENTION_DAYS", "6");
    let service = world.serve().await;
    let (org, now) = (Uuid::new_v4(), Utc::now());
    let sent = events(org, 600, now);
    send(&world, &sent, 600).await;
    let all = request(&service, org, &day(now, 21));
    complete(&service, &all, 600).await;
    world.report(&["maintain"]).await;
    let purged = world.report(&["purge"]).await;
    assert!(purged["attribution"]["parts"].as_i64().unwrap() > 0, "{purged}");
    let floor = purged["attribution"]["before"].as_str().unwrap().to_owned();

    // What begins before is refused, by whatever is requested, and says from when on it is not.
    let (status, dimensions) =
        Request { params: Vec::new(), ..all.clone() }.send(&service, "attribution/dimensions").await;
    assert_eq!(status, 200);
    for set in dimensions["sets"].as_array().unwrap() {
        assert_eq!(set["completeFrom"], json!(floor), "{dimensions}");
    }
    let filtered = all.with(&[("clientId", "web")]);
    for (request, what) in [(&all.with(&[("groupBy", "clientId")]), "attribution"), (&filtered, "usage")] {
        let (status, problem) = request.send(&service, what).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("start")), "{problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(&floor) && message.contains("attribution"), "{message}");
    }
    let (status, usage) = all.send(&service, "usage").await;
    assert_eq!((status, &usage["totals"]["invocations"]), (200, &json!(600)), "rollups have it all: {usage}");

    let kept = request(&service, org, &floor);
    let from: DateTime<Utc> = floor.parse().unwrap();
    for group_by in [&["clientId"][..], &["modelId", "clientId"]] {
        let (groups, last) = kept.all(&service, group_by).await;
        let mut expected = expected(&sent, group_by, |event| event.occurred_at >= from);
        let unattributed = expected.remove(&vec![None; group_by.len()]).unwrap_or_default();
        assert_eq!((groups, of_json(&last["unattributed"]["totals"])), (expected, unattributed), "{group_by:?}");
    }
    // A late event of what is purged changes nothing that is kept, and the floor stays.
    let mut late = sent[0].clone();
    (late.event_id, late.occurred_at) = (Uuid::new_v4(), from - TimeDelta::hours(30));
    send(&world, std::slice::from_ref(&late), 601).await;
    let again = world.report(&["purge"]).await;
    assert!(again["attribution"]["before"].as_str().unwrap() >= floor.as_str());
    let (status, _) = all.with(&[("groupBy", "clientId")]).send(&service, "attribution").await;
    assert_eq!(status, 400);
    assert_eq!(kept.with(&[("groupBy", "clientId")]).page(&service).await["totals"]["invocations"], {
        sent.iter().filter(|event| event.occurred_at >= from).count()
    });
    assert_eq!(service.terminate().await, Some(0));
}
