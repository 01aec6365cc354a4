//! A right of the service's role that is taken back while the service runs.

use analytics_service::auth::Role;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::harness::{LedgerSums, World, assert_exact, sent, settled};

async fn as_owner(world: &World, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut world.connect_as_owner().await).await.unwrap();
}

#[tokio::test]
async fn a_lost_right_parks_the_partition_until_granted() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__SUPERVISION__MAX_RESTARTS", "1");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = ["--events", "500", "--orgs", "2", "--models", "2"];
    let before = world.publish(&load).await;
    settled(&mut conn, sent(&before)).await;
    as_owner(&world, "REVOKE INSERT ON analytics.usage_events FROM analytics_service").await;
    let after = world.publish(&load).await;
    let cause = service.parked("partition/0").await;
    assert!(cause.contains("42501") && cause.contains("usage_events"), "{cause}");
    let (status, readiness) = service.readiness().await.unwrap();
    assert_eq!((status.as_u16(), readiness["status"].as_str()), (200, Some("degraded")), "{readiness}");
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, sent(&before), "nothing of the batch is stored");
    as_owner(&world, "GRANT INSERT ON analytics.usage_events TO analytics_service").await;
    service.restart("partition/0").await;
    settled(&mut conn, 1000).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sent(&after), ledger.stored, ledger.duplicates, ledger.rejected), (500, 1000, 0, 0));
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_missing_table_is_500() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::from_u128(1);
    let token = service.token(&[org], &[Role::OrgAdmin]);
    let yesterday = chrono::Utc::now().date_naive() - chrono::Days::new(1);
    for (table, what) in [
        ("dead_letters", "dead-letters"),
        ("api_keys", "api-keys"),
        ("rollup_revisions", &format!("revisions?start={yesterday}")),
    ] {
        let path = format!("/analytics/v1/orgs/{org}/{what}");
        let rename = async |from: &str, to: &str| {
            let statement = format!("ALTER TABLE analytics.{from} RENAME TO {to}");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut world.connect_as_owner().await).await.unwrap();
        };
        rename(table, "mislaid").await;
        let (status, problem) = service.get(&path, &token).await;
        assert_eq!((status.as_u16(), problem["type"].as_str()), (500, Some("/problems/internal")), "{problem}");
        assert!(!problem.to_string().contains(table), "nothing of the database is shown: {problem}");
        rename("mislaid", table).await;
        let (status, page) = service.get(&path, &token).await;
        assert_eq!(status, 200, "{page}");
    }
}

#[tokio::test]
async fn a_missing_right_is_500() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "300", "--orgs", "1", "--models", "2"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let org: Uuid = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let token = service.token(&[org], &[Role::OrgAdmin]);
    let ask = async |what: &str| service.get(&format!("/analytics/v1/orgs/{org}/{what}"), &token).await;
    assert_eq!(ask("dead-letters").await.0, 200);
    as_owner(&world, "REVOKE SELECT ON analytics.dead_letters FROM analytics_service").await;
    let (status, problem) = ask("dead-letters").await;
    assert_eq!(status, 500, "{problem}");
    assert!(!problem.to_string().contains("dead_letters"), "nothing of the database is shown: {problem}");
    let today = chrono::Utc::now().date_naive();
    let (status, answer) = ask(&format!("usage?start={}", today - chrono::Days::new(1))).await;
    assert_eq!(status, 200, "what needs no such right is answered: {answer}");
    as_owner(&world, "GRANT SELECT ON analytics.dead_letters TO analytics_service").await;
    assert_eq!(ask("dead-letters").await.0, 200);
    assert_exact(&mut world.connect().await, &report).await;
}
