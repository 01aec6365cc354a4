//! API keys against the real database: made, used, revoked, expired, and with the database away.

use std::time::{Duration, Instant};

use analytics_service::auth::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{AT_ONCE, Service, Stopped, World, bound, eventually, responded};

/// The freshness of an org, asked with a key.
async fn ask(service: &Service, org: Uuid, key: &str) -> StatusCode {
    service.get_by_key(&format!("/analytics/v1/orgs/{org}/freshness"), key).await.0
}

async fn make(service: &Service, org: Uuid, body: &Value) -> (Uuid, String) {
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let path = format!("/analytics/v1/orgs/{org}/api-keys");
    let (status, made) = service.post(&path, &admin, body.to_string().into_bytes()).await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().parse().unwrap(), made["key"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__AUTH__API_KEY_CACHE_SECONDS", "2");
    let (here, elsewhere) = (world.serve().await, world.serve().await);
    let org = Uuid::new_v4();
    let (id, key) = make(&here, org, &json!({"name": "dashboard", "role": "org_viewer"})).await;
    for service in [&here, &elsewhere] {
        assert_eq!(ask(service, org, &key).await, 200);
        assert_eq!(ask(service, Uuid::new_v4(), &key).await, 403);
        assert_eq!(ask(service, org, &format!("{}AA", &key[..key.len() - 2])).await, 401);
    }
    let mut conn = world.connect().await;
    let stored: String =
        sqlx::query_scalar("SELECT row_to_json(k)::text FROM analytics.api_keys k").fetch_one(&mut conn).await.unwrap();
    assert!(!stored.contains(&key[36..]), "the secret is stored nowhere: {stored}");
    let admin = here.token(&[org], &[Role::OrgAdmin]);
    let path = format!("/analytics/v1/orgs/{org}/api-keys/{id}");
    for _ in 0..2 {
        let (status, revoked) = here.post(&format!("{path}/revoke"), &admin, Vec::new()).await;
        assert_eq!((status.as_u16(), &revoked["state"]), (200, &json!("revoked")));
    }
    let since = Instant::now();
    assert_eq!(ask(&here, org, &key).await, 401);
    eventually("the other process knows it too", async || (ask(&elsewhere, org, &key).await == 401).then_some(()))
        .await;
    assert!(since.elapsed() < bound(Duration::from_secs(5)), "{:?}", since.elapsed());
    let acts: Vec<(String, Option<Uuid>, Option<String>)> = sqlx::query_as(
        "SELECT action, org_id, target FROM analytics.audit_events WHERE action LIKE 'api_key.%' ORDER BY event_id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let target = Some(id.to_string());
    let expected = ["api_key.create", "api_key.revoke"].map(|act| (act.to_owned(), Some(org), target.clone()));
    assert_eq!(acts, expected);
    assert_eq!(here.terminate().await, Some(0));
    let used: bool = sqlx::query_scalar("SELECT last_used_at IS NOT NULL FROM analytics.api_keys")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(used, "draining writes when it was used");
}

#[tokio::test]
async fn keys_of_a_key_end_with_it() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let path = format!("/analytics/v1/orgs/{org}/api-keys");
    let end = chrono::Utc::now() + chrono::TimeDelta::days(7);
    let (root, key) = make(&service, org, &json!({"name": "root", "role": "org_admin", "expiresAt": end})).await;
    let by_key = async |key: &str, body: Value| service.post_by_key(&path, key, body.to_string().into_bytes()).await;
    let (status, child) = by_key(&key, json!({"name": "child", "role": "org_admin"})).await;
    assert_eq!((status.as_u16(), &child["parentId"]), (201, &json!(root)), "{child}");
    let inherited: chrono::DateTime<chrono::Utc> = child["expiresAt"].as_str().unwrap().parse().unwrap();
    assert!((inherited - end).num_milliseconds().abs() <= 1, "{inherited} is not {end}");
    let longer = json!({"name": "longer", "role": "org_viewer", "expiresAt": end + chrono::TimeDelta::days(1)});
    let (status, problem) = by_key(&key, longer).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("expiresAt")));
    let (status, grandchild) =
        by_key(child["key"].as_str().unwrap(), json!({"name": "grandchild", "role": "org_viewer"})).await;
    assert_eq!(status, 201, "{grandchild}");
    let last = grandchild["key"].as_str().unwrap();
    assert_eq!(ask(&service, org, last).await, 200);
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let (_, revoked) = service.post(&format!("{path}/{root}/revoke"), &admin, Vec::new()).await;
    let names = |revoked: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let descendants = revoked["descendants"].as_array().unwrap();
        descendants.iter().map(|key| (text(&key["name"]), text(&key["state"]))).collect()
    };
    let both = |state: &str| ["grandchild", "child"].map(|name| (name.to_owned(), state.to_owned())).to_vec();
    assert_eq!(names(&revoked), both("active"), "it offers what the key made");
    assert_eq!(ask(&service, org, last).await, 200);
    let (_, revoked) = service.post(&format!("{path}/{root}/revoke?cascade=true"), &admin, Vec::new()).await;
    assert_eq!(names(&revoked), both("revoked"));
    assert_eq!(ask(&service, org, last).await, 401);
    assert_eq!(service.terminate().await, Some(0));
    let acts: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT action, target FROM analytics.audit_events WHERE action IN ('api_key.revoke', 'authenticate')
         ORDER BY action DESC, target",
    )
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    let id = |made: &Value| Some(made["id"].as_str().unwrap().to_owned());
    let mut ended = vec![Some(root.to_string()), id(&child), id(&grandchild)];
    ended.sort();
    let mut expected: Vec<(String, Option<String>)> = vec![("authenticate".to_owned(), id(&grandchild))];
    expected.extend(ended.into_iter().map(|id| ("api_key.revoke".to_owned(), id)));
    assert_eq!(acts, expected, "each is recorded, and the use of one that is revoked by its id");
}

#[tokio::test]
async fn the_command_revokes_keys_of_a_key() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__AUTH__API_KEY_CACHE_SECONDS", "1");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let command = async |args: &[&str]| -> Value {
        let org = org.to_string();
        world.report(&[&["api-key", args[0], "--org", &org], &args[1..]].concat()).await
    };
    let root = command(&["create", "--role", "org_admin", "--name", "root"]).await;
    let body = json!({"name": "child", "role": "org_viewer"}).to_string().into_bytes();
    let path = format!("/analytics/v1/orgs/{org}/api-keys");
    let (status, child) = service.post_by_key(&path, root["key"].as_str().unwrap(), body).await;
    assert_eq!(status, 201, "{child}");
    let of_child = child["key"].as_str().unwrap();
    assert_eq!(ask(&service, org, of_child).await, 200);
    let id = root["id"].as_str().unwrap();
    let listed = |answer: &Value| {
        let [key] = &answer["descendants"].as_array().unwrap()[..] else { panic!("{answer}") };
        (key["id"].clone(), key["state"].clone())
    };
    assert_eq!(listed(&command(&["revoke", id]).await), (child["id"].clone(), json!("active")), "it is offered");
    assert_eq!(ask(&service, org, of_child).await, 200);
    assert_eq!(listed(&command(&["revoke", id, "--cascade"]).await), (child["id"].clone(), json!("revoked")));
    eventually("the service knows", async || (ask(&service, org, of_child).await == 401).then_some(())).await;
    let acts: Vec<(String, String)> = sqlx::query_as(
        "SELECT subject, target FROM analytics.audit_events WHERE action = 'api_key.revoke' ORDER BY occurred_at",
    )
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap();
    assert!(acts.iter().all(|(subject, _)| subject.starts_with("command-line/")), "{acts:?}");
    let targets: Vec<&str> = acts.iter().map(|(_, target)| target.as_str()).collect();
    assert!(targets.contains(&id) && targets.contains(&child["id"].as_str().unwrap()), "{acts:?}");
}

#[tokio::test]
async fn a_key_is_created_once_and_bounded() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__AUTH__API_KEYS_PER_ORG", "2");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let create = async |idempotency: &str, name: &str| {
        let body = json!({"name": name, "role": "finance"});
        let path = format!("http://{}/analytics/v1/orgs/{org}/api-keys", service.api);
        // That it may be repeated is what the key is for.
        let (status, answer) = responded(async || {
            let request = reqwest::Client::new().post(&path).bearer_auth(&admin).header("idempotency-key", idempotency);
            let answer = request.json(&body).send().await.unwrap();
            (answer.status(), answer.json::<Value>().await.unwrap())
        })
        .await;
        (status.as_u16(), answer)
    };
    let (first, again) = tokio::join!(create("one", "a"), create("one", "a"));
    assert!([first.0, again.0].iter().all(|status| [200, 201].contains(status)), "{first:?} {again:?}");
    assert_eq!(first.1["id"], again.1["id"]);
    assert!([&first.1, &again.1].iter().filter(|made| made.get("key").is_some()).count() <= 1, "{first:?} {again:?}");
    assert_eq!(create("one", "b").await.0, 422);
    assert_eq!(create("two", "b").await.0, 201);
    let (status, problem) = create("three", "c").await;
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/too-many-api-keys")));
    let path = format!("/analytics/v1/orgs/{org}/api-keys/{}/revoke", first.1["id"].as_str().unwrap());
    assert_eq!(service.post(&path, &admin, Vec::new()).await.0, 200);
    assert_eq!(create("three", "c").await.0, 201, "one that is revoked takes no room");
    let other = Uuid::new_v4();
    make(&service, other, &json!({"name": "n", "role": "finance"})).await;
}

#[tokio::test]
async fn a_key_that_expires_works_until_then() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let end = chrono::Utc::now() + chrono::TimeDelta::seconds(8);
    let (id, key) = make(&service, org, &json!({"name": "n", "role": "org_viewer", "expiresAt": end})).await;
    assert_eq!(ask(&service, org, &key).await, 200);
    eventually("it has expired", async || (ask(&service, org, &key).await == 401).then_some(())).await;
    assert!(chrono::Utc::now() >= end - chrono::TimeDelta::milliseconds(200));
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let shown = service.get(&format!("/analytics/v1/orgs/{org}/api-keys/{id}"), &admin).await.1;
    assert_eq!(shown["state"], "expired");
}

#[tokio::test]
async fn known_keys_survive_a_database_outage() {
    let mut world = World::exclusive(1).await;
    world.set("ANALYTICS__AUTH__API_KEY_CACHE_SECONDS", "3");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let (_, known) = make(&service, org, &json!({"name": "known", "role": "producer"})).await;
    let (_, unknown) = make(&service, org, &json!({"name": "unknown", "role": "producer"})).await;
    // An event that is none is answered without the database, once the caller is known.
    let ask = async |key: &str| {
        let body = json!({"orgId": org}).to_string().into_bytes();
        service.try_post_by_key("/analytics/v1/events/validate", key, body).await.0.as_u16()
    };
    let body = json!({"orgId": org}).to_string().into_bytes();
    assert_eq!(service.post_by_key("/analytics/v1/events/validate", &known, body).await.0, 400);
    let stopped = Stopped::server("postgres").await;
    let since = Instant::now();
    assert_eq!(ask(&unknown).await, 503);
    assert!(since.elapsed() < bound(AT_ONCE), "{:?}", since.elapsed());
    eventually("the known one is not known any more", async || match ask(&known).await {
        400 => None,
        status => {
            assert_eq!(status, 503);
            Some(())
        }
    })
    .await;
    stopped.start().await;
    eventually("both are authorized again", async || {
        (ask(&known).await == 400 && ask(&unknown).await == 400).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_command_makes_lists_and_revokes_keys() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let run = async |args: &[&str]| {
        let output = world.run(&[&["api-key"], args, &["--org", &org.to_string()]].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let key = run(&["create", "--role", "org_viewer", "--name", "a dashboard"]).await;
    assert_eq!(ask(&service, org, &key).await, 200);
    let listed: Value = serde_json::from_str(&run(&["list", "--json"]).await).unwrap();
    let id = listed["apiKeys"][0]["id"].as_str().unwrap();
    assert!(run(&["list"]).await.contains("active  org_viewer"));
    assert_eq!(run(&["revoke", id]).await, format!("{id}: revoked"));
    assert!(run(&["list"]).await.contains("revoked  org_viewer"));
    let mut conn = world.connect().await;
    let acts: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM analytics.audit_events WHERE credential = 'command_line' ORDER BY event_id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(acts, ["api_key.create", "api_key.revoke"]);
    let arguments = ["api-key", "create", "--role", "system_admin", "--name", "n", "--org", &org.to_string()];
    assert_eq!(world.run(&arguments).await.status.code(), Some(2));
}
