//! Dead letters from the rejection to the corrected event in the rollups: through the API and by the command line.

mod commands;

use std::{
    io::Write,
    process::{Output, Stdio},
    time::Duration,
};

use analytics_service::{
    auth::Role,
    domain::{
        audit::{Actor, AuditEvent, Outcome::Allowed},
        correction::Outcome,
        dead_letter::{LetterScope, State},
        event::Event,
    },
    store::ingest::corrections::{self, Correction},
};
use chrono::Utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection;
use uuid::Uuid;

use crate::{
    harness::{LedgerSums, Service, Totals, World, bound, eventually, millis, number, output_of},
    store_commit::{body, event},
};

fn new_org() -> u128 {
    Uuid::new_v4().as_u128()
}

/// A message that would be `event`, but for its latency.
fn broken(event: &Event) -> Vec<u8> {
    String::from_utf8(body(event)).unwrap().replace("\"latencyMs\":12", "\"latencyMs\":-12").into_bytes()
}

fn admin(service: &Service, org: Uuid) -> String {
    service.token(&[org], &[Role::OrgAdmin])
}

fn of_org(org: Uuid, rest: &str) -> String {
    format!("/analytics/v1/orgs/{org}/dead-letters{rest}")
}

/// The org's letters, newest first, once there are so many.
async fn letters(service: &Service, org: Uuid, count: usize) -> Vec<Value> {
    eventually("the messages are rejected", async || {
        let (status, answer) = service.get(&of_org(org, ""), &admin(service, org)).await;
        assert_eq!(status, 200, "{answer}");
        let letters = answer["deadLetters"].as_array().unwrap();
        (letters.len() == count).then(|| letters.clone())
    })
    .await
}

async fn until_replayed(service: &Service, org: Uuid, id: &str) -> Value {
    eventually("the correction is replayed", async || {
        let (_, letter) = service.get(&of_org(org, &format!("/{id}")), &admin(service, org)).await;
        (letter["state"] == "replayed").then_some(letter)
    })
    .await
}

fn id_of(letter: &Value) -> String {
    letter["id"].as_str().unwrap().to_owned()
}

/// An event whose message was rejected, and its letter's id.
async fn rejected(world: &World, service: &Service) -> (Event, String) {
    let corrected = event(new_org(), 1, Utc::now());
    world.send([broken(&corrected)]).await;
    let id = id_of(&letters(service, corrected.org_id, 1).await[0]);
    (corrected, id)
}

fn wrong_fields(answer: &Value) -> Vec<&str> {
    answer["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_correction_is_counted_once() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let corrected = event(new_org(), 1, Utc::now());
    let (org, stranger) = (corrected.org_id, Uuid::new_v4());
    let token = admin(&service, org);
    let foreign = Event { org_id: stranger, ..corrected.clone() };
    world.send([broken(&corrected), broken(&foreign)]).await;

    // Listed and shown to its org, without an offset, and to no other org.
    let letter = letters(&service, org, 1).await.remove(0);
    assert_eq!(letter["reasons"], json!(["latencyMs: must be an integer from 0 to 86400000"]));
    assert_eq!((&letter["state"], &letter["correctedBy"]), (&json!("open"), &Value::Null));
    assert!(letter.get("offset").is_none() && letter.get("partition").is_none() && letter.get("stream").is_none());
    let id = id_of(&letter);
    let (_, shown) = service.get(&of_org(org, &format!("/{id}")), &token).await;
    assert_eq!(shown["payload"].as_str().unwrap().as_bytes(), broken(&corrected));
    let theirs = id_of(&letters(&service, stranger, 1).await[0]);
    let replay = |id: &str| of_org(org, &format!("/{id}/replay"));
    let viewer = service.token(&[org], &[Role::OrgViewer]);
    for (path, token, status) in [
        (of_org(stranger, ""), &token, 403),
        (of_org(stranger, &format!("/{theirs}")), &token, 403),
        (of_org(org, ""), &viewer, 403),
        (of_org(org, &format!("/{theirs}")), &token, 404),
        (of_org(org, "/1'%20OR%20'1'='1"), &token, 404),
        (of_org(org, "?cursor=1'%20OR%20'1'='1"), &token, 400),
    ] {
        assert_eq!(service.get(&path, token).await.0, status, "{path}");
    }
    assert_eq!(service.post(&replay(&theirs), &token, body(&corrected)).await.0, 404);
    assert_eq!(service.post(&replay(&id), &viewer, body(&corrected)).await.0, 403);

    // An event that is still wrong is refused by field, and changes nothing.
    let (status, answer) = service.post(&replay(&id), &token, broken(&foreign)).await;
    assert_eq!((status.as_u16(), wrong_fields(&answer)), (400, vec!["latencyMs", "orgId"]), "{answer}");
    let (status, answer) = service.post(&replay(&id), &token, b"\xff".to_vec()).await;
    assert_eq!((status.as_u16(), wrong_fields(&answer)), (400, vec!["message"]), "{answer}");

    // The first correction counts; the same event in other bytes is the same.
    let (status, accepted) = service.post(&replay(&id), &token, body(&corrected)).await;
    assert_eq!(status, 202, "{accepted}");
    assert_eq!((&accepted["id"], &accepted["eventId"]), (&json!(id), &json!(corrected.event_id)));
    let pretty: Value = serde_json::from_slice(&body(&corrected)).unwrap();
    let (status, again) = service.post(&replay(&id), &token, serde_json::to_vec_pretty(&pretty).unwrap()).await;
    assert_eq!((status.as_u16(), &again["eventId"]), (202, &accepted["eventId"]), "{again}");
    let other = Event { latency_ms: 13, ..corrected.clone() };
    let (status, conflict) = service.post(&replay(&id), &token, body(&other)).await;
    assert_eq!((status.as_u16(), &conflict["type"]), (409, &json!("/problems/already-corrected")));

    // It arrives, once, however often it is published.
    let letter = until_replayed(&service, org, &id).await;
    assert_eq!(letter["correctedBy"], "tests");
    assert_eq!(letter["correction"]["eventId"], json!(corrected.event_id));
    let mut conn = world.connect().await;
    sqlx::query("UPDATE analytics.dead_letters SET replayed_at = NULL WHERE correction IS NOT NULL")
        .execute(&mut conn)
        .await
        .unwrap();
    let ledger = eventually("the copy is recognised", async || {
        let sums = LedgerSums::of_hours(&mut conn).await;
        (sums.received == 4).then_some(sums)
    })
    .await;
    assert_eq!((ledger.stored, ledger.duplicates, ledger.conflicts, ledger.rejected), (1, 1, 0, 2));
    for totals in [Totals::raw(&mut conn).await, Totals::rolled_up(&mut conn, "hourly_rollups").await] {
        assert_eq!(totals.keys().collect::<Vec<_>>(), [&org]);
        assert_eq!((totals[&org].invocations, totals[&org].input_tokens), (1, 3));
    }
    until_replayed(&service, org, &id).await;
    let (status, late) = service.post(&replay(&id), &token, body(&corrected)).await;
    assert_eq!((status.as_u16(), &late["state"]), (202, &json!("replayed")));
}

#[tokio::test]
async fn pages_hold_every_letter_once() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = new_org();
    let events: Vec<Event> = (1..=5).map(|n| event(org, n, Utc::now())).collect();
    let org = Uuid::from_u128(org);
    world.send(events.iter().map(broken)).await;
    let all: Vec<String> = letters(&service, org, 5).await.iter().map(id_of).collect();
    let token = admin(&service, org);
    let (mut paged, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let (_, page) = service.get(&of_org(org, &query), &token).await;
        paged.extend(page["deadLetters"].as_array().unwrap().iter().map(id_of));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(paged, all);

    let path = of_org(org, &format!("/{}/replay", all[0]));
    let different = (1..=8).map(|latency_ms| body(&Event { latency_ms, ..events[4].clone() }));
    let answers = join_all(different.map(|body| service.post(&path, &token, body))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|(status, _)| status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409, 409, 409, 409]);
    until_replayed(&service, org, &all[0]).await;
    for (query, count) in [
        ("?state=open", 4),
        ("?state=corrected", 0),
        ("?state=replayed", 1),
        ("?state=all&start=2000-01-01T00:00:00Z", 5),
        ("?end=2000-01-01T00:00:00Z", 0),
    ] {
        let (_, page) = service.get(&of_org(org, query), &token).await;
        assert_eq!(page["deadLetters"].as_array().map(Vec::len), Some(count), "{query} {page}");
    }
}

#[tokio::test]
async fn messages_without_an_org_are_for_system_administrators() {
    let world = World::new(1).await;
    let service = world.serve().await;
    world.send([b"\x1b]0;no json\xff".to_vec(), broken(&event(new_org(), 1, Utc::now()))]).await;
    let stranger = Uuid::new_v4();
    let token = service.token(&[stranger], &[Role::SystemAdmin]);
    let path = "/analytics/v1/dead-letters";
    let letter = eventually("the message is rejected", async || {
        let (status, answer) = service.get(path, &token).await;
        assert_eq!(status, 200, "{answer}");
        answer["deadLetters"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&letter["orgId"], &letter["partition"], &letter["offset"]), (&Value::Null, &json!(0), &json!(0)));
    let (_, shown) = service.get(&format!("{path}/{}", id_of(&letter)), &token).await;
    assert_eq!((&shown["payloadBase64"], &shown["payload"]), (&json!("G10wO25vIGpzb27/"), &Value::Null));
    let (_, answer) = service.get(path, &token).await;
    assert_eq!(answer["deadLetters"].as_array().unwrap().len(), 1, "none that names its org");
    assert_eq!(service.get(&of_org(stranger, &format!("/{}", id_of(&letter))), &token).await.0, 404);
    let org_admin = admin(&service, stranger);
    for path in [path.to_owned(), format!("{path}/{}", id_of(&letter))] {
        assert_eq!(service.get(&path, &org_admin).await.0, 403);
    }
}

#[tokio::test]
async fn corrections_wait_for_the_broker() {
    let mut world = World::new(1).await;
    let service = world.serve().await;
    let (corrected, id) = rejected(&world, &service).await;
    let org = corrected.org_id;
    assert_eq!(service.terminate().await, Some(0));

    let broker = world.variables["ANALYTICS__BROKER__URL"].clone();
    world.set("ANALYTICS__BROKER__URL", "amqp://u:p@127.0.0.1:1/%2f");
    let service = world.serve().await;
    let path = of_org(org, &format!("/{id}/replay"));
    let (status, answer) = service.post(&path, &admin(&service, org), body(&corrected)).await;
    assert_eq!((status.as_u16(), &answer["state"]), (202, &json!("corrected")));
    assert_eq!(service.terminate().await, Some(0), "and nothing holds up the end");

    world.set("ANALYTICS__BROKER__URL", &broker);
    let service = world.serve().await;
    until_replayed(&service, org, &id).await;
    let mut conn = world.connect().await;
    eventually("the event is stored", async || (LedgerSums::of_batches(&mut conn).await.stored == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn a_correction_is_published_by_one_process() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (corrected, id) = rejected(&world, &service).await;
    let dead_letter_id = id.parse().unwrap();
    assert_eq!(service.terminate().await, Some(0));

    let (mut one, mut other) = (world.connect().await, world.connect().await);
    let by = "tests".to_owned();
    let act = AuditEvent::new(Actor::command_line(by.clone()), "dead_letter.correct", Allowed);
    let asked = Correction { whose: LetterScope::Any, dead_letter_id, body: body(&corrected), by, act };
    let bounds = &world.settings.events;
    corrections::correct(&mut one, &asked, bounds).await.unwrap();
    let mut publishing = one.begin().await.unwrap();
    assert_eq!(corrections::claim(&mut publishing, 10).await.unwrap().len(), 1);
    assert!(corrections::claim(&mut other, 10).await.unwrap().is_empty());
    // Asking again waits for no lock.
    let again = tokio::time::timeout(bound(Duration::from_secs(5)), corrections::correct(&mut other, &asked, bounds));
    let accepted = Outcome::Accepted { state: State::Corrected, event_id: corrected.event_id };
    assert_eq!(again.await.unwrap().unwrap(), accepted);
    publishing.rollback().await.unwrap();
    assert_eq!(corrections::claim(&mut other, 10).await.unwrap().len(), 1);
}
