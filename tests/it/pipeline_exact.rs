//! Published is stored is rolled up is answered, to the unit, whatever happens on the way.

use analytics_service::auth::Role;
use serde_json::Value;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{LedgerSums, Protocol, World, assert_exact, decimal, eventually, number, scale, sent, settled},
};

by_each_protocol![mixed_messages_over_four_partitions_balance, new_partitions_start_at_their_streams_beginning,];

fn orgs(report: &Value) -> Vec<uuid::Uuid> {
    report["orgs"].as_array().unwrap().iter().map(|org| org["orgId"].as_str().unwrap().parse().unwrap()).collect()
}

/// The usage that the API answers for all of a report's orgs together: invocations, tokens in and out, cost.
async fn answered(service: &crate::harness::Service, report: &Value) -> (i64, i64, i64, rust_decimal::Decimal) {
    let orgs = orgs(report);
    let token = service.token(&orgs, &[Role::OrgViewer]);
    let day = |name: &str| report[name].as_str().unwrap()[..10].to_owned();
    let last: chrono::NaiveDate = day("lastOccurredAt").parse().unwrap();
    let (start, end) = (day("firstOccurredAt"), last + chrono::Days::new(1));
    let mut sum = (0, 0, 0, rust_decimal::Decimal::ZERO);
    for org in orgs {
        let path = format!("/analytics/v1/orgs/{org}/usage?start={start}T00:00:00Z&end={end}T00:00:00Z");
        let (status, answer) = service.get(&path, &token).await;
        assert_eq!(status, 200, "{answer}");
        let totals = &answer["totals"];
        sum.0 += totals["invocations"].as_i64().unwrap();
        sum.1 += totals["inputTokens"].as_i64().unwrap();
        sum.2 += totals["outputTokens"].as_i64().unwrap();
        sum.3 += decimal(&totals["costEstimateCents"]);
    }
    sum
}

#[tokio::test]
async fn publishing_the_trace_twice_keeps_its_totals() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let trace = ["--trace", "data/azure-llm-2023-conv.csv"];
    let report = world.publish(&trace).await;
    settled(&mut conn, 19_366).await;
    let first = answered(&service, &report).await;
    assert_eq!((first.0, first.1, first.2), (19_366, 22_361_870, 4_088_665));
    assert_eq!(first.3, decimal(&report["totals"]["costEstimateCents"]));
    assert_exact(&mut conn, &report).await;

    world.publish(&trace).await;
    settled(&mut conn, 2 * 19_366).await;
    assert_eq!(answered(&service, &report).await, first);
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.duplicates, ledger.conflicts), (19_366, 19_366, 0));
    assert_eq!(service.terminate().await, Some(0));
}

async fn mixed_messages_over_four_partitions_balance(by: Protocol) {
    let world = World::new(4).await.read_by(by);
    let service = world.serve().await;
    let events = (40_000 * scale()).to_string();
    let args = ["--events", &events, "--orgs", "60", "--models", "12"];
    let mix = ["--duplicates", "0.02", "--late", "0.01", "--invalid", "0.005", "--seed", "11"];
    let report = world.publish(&[&args[..], &mix[..]].concat()).await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let ledger = assert_exact(&mut conn, &report).await;
    assert_eq!(ledger.duplicates, report["duplicates"].as_i64().unwrap());
    assert_eq!(ledger.conflicts, report["conflicts"].as_i64().unwrap());
    assert!(ledger.duplicates > 0 && ledger.late > 0 && ledger.rejected > 0 && ledger.conflicts > 0);
    let dead = number(&mut conn, "SELECT count(*) FROM analytics.dead_letters").await;
    assert_eq!(dead, ledger.rejected);
    let used = number(&mut conn, "SELECT count(DISTINCT partition) FROM analytics.ingestion_batches").await;
    assert_eq!(used, 4);
    eventually("the metrics count what the ledger does", async || {
        let metrics = service.metrics().await;
        let stored =
            metrics.lines().filter(|line| line.starts_with("analytics_events_total") && line.contains("stored"));
        let counted: i64 = stored.map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()).sum();
        (counted == ledger.stored).then_some(())
    })
    .await;
    assert_eq!(answered(&service, &report).await.3, decimal(&report["totals"]["costEstimateCents"]));
}

async fn new_partitions_start_at_their_streams_beginning(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = ["--events", "1000", "--orgs", "20", "--models", "2"];
    let before = world.publish(&load).await;
    settled(&mut conn, sent(&before)).await;
    assert_eq!(service.terminate().await, Some(0));

    let changed = world.run(&["partitions", "layout", "--set", "3", "--yes"]).await;
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    world.set("ANALYTICS__BROKER__PARTITIONS", "3");
    let service = world.serve().await;
    let after = world.publish(&load).await;
    settled(&mut conn, sent(&before) + sent(&after)).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.received, ledger.stored), (2000, 2000));
    assert_eq!(answered(&service, &after).await.0, 2000, "old and new events of the same orgs");
}

#[tokio::test]
async fn a_drained_service_leaves_nothing_pending() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "20000", "--orgs", "20", "--models", "5"]).await;
    assert_eq!(service.terminate().await, Some(0));
    let mut conn = world.connect().await;
    let pending = number(&mut conn, "SELECT count(*) FROM analytics.rollup_pending").await;
    assert_eq!(pending, 0);
    let _service = world.serve().await;
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
}
