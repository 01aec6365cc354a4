//! Names for people against the real database.

use analytics_service::auth::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::World;

fn body(name: &str) -> Vec<u8> {
    json!({"name": name}).to_string().into_bytes()
}

/// Id and name of each.
fn listed(page: &Value) -> Vec<(&str, &str)> {
    let names = page["names"].as_array().unwrap();
    names.iter().map(|name| (name["id"].as_str().unwrap(), name["name"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn names_are_set_replaced_listed_and_deleted() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let names = format!("/analytics/v1/orgs/{org}/names");
    let person = Uuid::new_v4();
    for (path, name) in [
        ("clientId/web".to_owned(), "Web"),
        ("clientId/a%2Fb%20%F0%9F%99%82".to_owned(), "Odd"),
        ("meta.team%22x/search".to_owned(), "Search team"),
        (format!("actorId/{person}"), "Ann"),
        ("clientId/web".to_owned(), "Web shop"),
    ] {
        let (status, set) = service.put(&format!("{names}/{path}"), &admin, body(name)).await;
        assert_eq!((status.as_u16(), &set["name"]), (200, &json!(name)), "{set}");
    }
    let (_, first) = service.get(&format!("{names}?limit=2"), &admin).await;
    assert_eq!(listed(&first), [(person.to_string().as_str(), "Ann"), ("a/b 🙂", "Odd")]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, rest) = service.get(&format!("{names}?limit=2&cursor={cursor}"), &admin).await;
    assert_eq!(listed(&rest), [("web", "Web shop"), ("search", "Search team")]);
    assert_eq!(rest["nextCursor"], Value::Null);
    let (_, clients) = service.get(&format!("{names}?dimension=clientId"), &admin).await;
    assert_eq!(listed(&clients).len(), 2);
    let viewer = service.token(&[other], &[Role::OrgViewer]);
    let (_, none) = service.get(&format!("/analytics/v1/orgs/{other}/names"), &viewer).await;
    assert_eq!(listed(&none), []);

    for _ in 0..2 {
        assert_eq!(service.delete(&format!("{names}/clientId/web"), &admin).await.0, 204);
    }
    assert_eq!(service.get(&format!("{names}/clientId/web"), &admin).await.0, 404);
    let (_, odd) = service.get(&format!("{names}/clientId/a%2Fb%20%F0%9F%99%82"), &admin).await;
    assert_eq!(odd["name"], "Odd");

    let mut conn = world.connect().await;
    let acts: Vec<(String, Option<Uuid>, Option<String>)> = sqlx::query_as(
        "SELECT action, org_id, target FROM analytics.audit_events WHERE action LIKE 'name.%' ORDER BY event_id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let act = |action: &str, target: &str| (action.to_owned(), Some(org), Some(target.to_owned()));
    let expected = [
        act("name.set", "clientId/web"),
        act("name.set", "clientId/a/b 🙂"),
        act("name.set", "meta.team\"x/search"),
        act("name.set", "actorId"),
        act("name.set", "clientId/web"),
        act("name.delete", "clientId/web"),
    ];
    assert_eq!(acts, expected);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn an_org_has_a_bounded_number_of_names() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    sqlx::query(
        "INSERT INTO analytics.names SELECT $1, 'clientId', n::text, 'n', now(), 'tests' FROM generate_series(1, 20000) n",
    )
    .bind(org)
    .execute(&mut world.connect().await)
    .await
    .unwrap();
    let put =
        async |id: &str| service.put(&format!("/analytics/v1/orgs/{org}/names/clientId/{id}"), &admin, body("x")).await;
    let (status, problem) = put("one-more").await;
    assert_eq!((status.as_u16(), &problem["type"]), (409, &json!("/problems/too-many-names")));
    assert_eq!(put("77").await.0, 200, "one that is there is replaced");
    assert_eq!(service.terminate().await, Some(0));
}
