//! The API and the commands against a running service: their responses, by caller.

use analytics_service::auth::Role;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{World, eventually};

#[tokio::test]
async fn an_org_sees_only_its_own_numbers() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "2000", "--orgs", "3", "--models", "2", "--late", "0.1"]).await;
    let org = |n: usize| -> Uuid { report["orgs"][n]["orgId"].as_str().unwrap().parse().unwrap() };
    let token = service.token(&[org(0)], &[Role::OrgViewer]);
    let day = |name: &str| report[name].as_str().unwrap()[..10].to_owned();
    let next = day("lastOccurredAt").parse::<chrono::NaiveDate>().unwrap() + chrono::Days::new(1);
    let range = format!("start={}T00:00:00Z&end={next}T00:00:00Z", day("firstOccurredAt"));
    let usage = |org: Uuid, more: &str| format!("/analytics/v1/orgs/{org}/usage?{range}{more}");

    let answer = eventually("the API answers what was published", async || {
        let (status, answer) = service.get(&usage(org(0), "&granularity=hour&groupBy=model"), &token).await;
        assert_eq!(status, 200, "{answer}");
        (answer["totals"] == report["orgs"][0]["totals"]).then_some(answer)
    })
    .await;
    let series = answer["series"].as_array().unwrap();
    let sum = |name: &str| series.iter().map(|point| point[name].as_i64().unwrap()).sum::<i64>();
    assert_eq!(json!(sum("invocations")), answer["totals"]["invocations"]);
    assert!(series.iter().any(|point| point["final"] == true) && series.iter().any(|point| point["final"] == false));
    assert_eq!(answer["freshness"]["status"], "fresh");
    let daily = service.get(&usage(org(0), ""), &token).await.1;
    assert_eq!(daily["totals"], answer["totals"], "days and hours have the same totals");

    // The service writes both, one after the other, and goes on merging meanwhile.
    eventually("the markers in Redis are those of the answer", async || {
        let (status, freshness) = service.get(&format!("/analytics/v1/orgs/{}/freshness", org(0)), &token).await;
        assert_eq!(status, 200, "{freshness}");
        let mut redis = world.connect_cache().await;
        let key = format!("analytics:freshness:{}", org(0));
        let hash: std::collections::BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(key).query_async(&mut redis).await.unwrap();
        let entries = freshness["entries"].as_array().unwrap();
        let same = entries.iter().all(|entry| {
            hash.get(entry["modelId"].as_str().unwrap()).is_some_and(|marker| {
                let marker: serde_json::Value = serde_json::from_str(marker).unwrap();
                (&marker["lastEventAt"], &marker["status"]) == (&entry["lastEventAt"], &json!("fresh"))
            })
        });
        (freshness["status"] == "fresh" && entries.len() == 2 && hash.len() == 2 && same).then_some(())
    })
    .await;

    for stranger in [org(1), Uuid::from_u128(99)] {
        assert_eq!(service.get(&usage(stranger, ""), &token).await.0, 403);
    }
    assert_eq!(service.get(&usage(org(0), ""), "no.such.token").await.0, 401);
    assert_eq!(service.get(&usage(org(0), "&granularity=week"), &token).await.0, 400);
    assert_eq!(service.get("/analytics/v1/nothing", &token).await.0, 404);
}

#[tokio::test]
async fn the_commands_token_and_healthcheck_work_from_outside() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::from_u128(5);
    let output = world.command(&["token", "--org", &org.to_string()]).output().unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let (status, answer) = service.get(&format!("/analytics/v1/orgs/{org}/freshness"), token.trim()).await;
    assert_eq!((status.as_u16(), &answer["entries"]), (200, &json!([])));
    let check =
        |ops: &str| world.command(&["healthcheck"]).env("ANALYTICS__OPS__ADDRESS", ops).status().unwrap().code();
    assert_eq!(check(&service.ops.to_string()), Some(0));
    assert_eq!(check("127.0.0.1:1"), Some(1));
}

#[tokio::test]
async fn a_wrong_setting_is_named_at_start() {
    let world = World::new(1).await;
    let output = world.command(&["serve"]).env("ANALYTICS__BATCH__CREDITS", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("batch.credits must be from 1 to 16, is 0"));
    let output = world.command(&["serve", "--no-such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
