//! What became of one event, by the API and by the command.

use analytics_service::auth::Role;
use chrono::{SubsecRound, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Service, World, eventually, number},
    store_commit::{body, event},
};

const ORG: Uuid = Uuid::from_u128(0x0bad);

async fn fate(service: &Service, org: Uuid, event_id: Uuid, more: &str) -> Value {
    let token = service.token(&[org], &[Role::OrgViewer]);
    let (status, answer) = service.get(&format!("/analytics/v1/orgs/{org}/events/{event_id}{more}"), &token).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn an_event_is_stored_duplicate_rejected_or_unknown() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let now = Utc::now().trunc_subsecs(6);
    let of = |n: u128| event(ORG.as_u128(), n, now - TimeDelta::minutes(5));
    let plain = of(1);
    let (resent, mut conflicting) = (of(2), of(2));
    conflicting.input_tokens += 1;
    conflicting.occurred_at += TimeDelta::seconds(7);
    let broken = body(&of(3));
    let broken = String::from_utf8(broken).unwrap().replace("\"success\"", "\"fine\"").into_bytes();
    for bodies in [vec![body(&plain), body(&resent), broken], vec![body(&resent), body(&conflicting)]] {
        world.send(bodies).await;
    }
    let found = eventually("the copies are noted", async || {
        let found = fate(&service, ORG, resent.event_id, "").await;
        (found["duplicates"]["copies"] == 2 && found["stored"][0]["merged"] == true).then_some(found)
    })
    .await;
    assert_eq!((&found["status"], &found["duplicates"]["conflict"]), (&json!("stored"), &json!(true)), "{found}");
    assert_eq!(found["duplicates"]["occurredAt"], json!(conflicting.occurred_at), "{found}");
    assert_eq!(found["stored"][0]["occurredAt"], json!(resent.occurred_at), "{found}");
    assert!(found["stored"][0]["committedAt"].is_string() && found["asOf"].is_string(), "{found}");
    let moment = conflicting.occurred_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let copy = fate(&service, ORG, resent.event_id, &format!("?occurredAt={moment}")).await;
    assert_eq!(copy["status"], "duplicate", "{copy}");

    let found = fate(&service, ORG, plain.event_id, "").await;
    assert_eq!((&found["status"], &found["duplicates"]), (&json!("stored"), &Value::Null), "{found}");
    let found = fate(&service, ORG, Uuid::from_u128(3), "").await;
    assert_eq!(found["status"], "rejected", "{found}");
    let reasons = json!(["status: must be one of success, error, timeout, throttled"]);
    assert_eq!((&found["rejections"][0]["reasons"], &found["rejections"][0]["state"]), (&reasons, &json!("open")));
    assert_eq!(fate(&service, ORG, Uuid::from_u128(4), "").await["status"], "unknown");
    let other = Uuid::from_u128(0x0dd);
    for n in 1..=3 {
        let found = fate(&service, other, Uuid::from_u128(n), "").await;
        assert_eq!((&found["status"], &found["rejections"]), (&json!("unknown"), &json!([])), "{found}");
    }

    let letter = &fate(&service, ORG, Uuid::from_u128(3), "").await["rejections"][0]["deadLetterId"];
    letters_are_found_by_event_and_reason(&service, letter).await;
    let (org, id) = (ORG.to_string(), resent.event_id.to_string());
    let shown = world.run(&["event", "--org", &org, "--event", &id, "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["status"], &shown["duplicates"]["copies"]), (&json!("stored"), &json!(2)), "{shown}");
}

async fn letters_are_found_by_event_and_reason(service: &Service, letter: &Value) {
    let token = service.token(&[ORG], &[Role::OrgAdmin]);
    for (filter, found) in [
        (format!("eventId={}", Uuid::from_u128(3)), true),
        (format!("eventId={}", Uuid::from_u128(1)), false),
        ("reason=status:".to_owned(), true),
        ("reason=must%20be%20one%20of".to_owned(), true),
        ("reason=latencyMs".to_owned(), false),
        ("reason=%25".to_owned(), false),
    ] {
        let (status, page) = service.get(&format!("/analytics/v1/orgs/{ORG}/dead-letters?{filter}"), &token).await;
        let ids: Vec<_> = page["deadLetters"].as_array().unwrap().iter().map(|letter| &letter["id"]).collect();
        let expected = if found { vec![letter] } else { vec![] };
        assert_eq!((status.as_u16(), ids), (200, expected), "{filter}: {page}");
    }
}

#[tokio::test]
async fn an_organisation_notes_a_bounded_number_of_duplicates() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let now = Utc::now().trunc_subsecs(6);
    let bodies: Vec<Vec<u8>> =
        (0..3000_u128).map(|n| body(&event(ORG.as_u128(), n, now - TimeDelta::minutes(5)))).collect();
    world.send(bodies.clone()).await;
    world.send(bodies).await;
    let mut owner = world.connect_as_owner().await;
    eventually("all were received", async || {
        let sum = "SELECT coalesce(sum(duplicates), 0)::bigint FROM analytics.ingestion_batches";
        (number(&mut owner, sum).await == 3000).then_some(())
    })
    .await;
    let noted = number(&mut owner, "SELECT count(*) FROM analytics.duplicates").await;
    assert!((1..=1024).contains(&noted), "{noted}");
    drop(service);
}
