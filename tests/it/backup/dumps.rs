//! A dump of the running service's database, restored into another one.

use chrono::Utc;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::{Contents, RATE, an_org, as_of};
use crate::{
    harness::{
        DatabaseServer, FLAWS, LedgerSums, Load, Place, World, assert_exact, commands, contradictions, eventually,
        exact_with_resends, more, not_run, number, resend, sent, settled,
    },
    store_commit::{body, event},
    watermarks::lost_commits::read_again,
};

const BACK_UP: &str = "Back up by a dump";
const RESTORE: &str = "Restore a dump";
const CHECK: &str = "Check what was restored";
const AFTER: &str = "What was done after the backup";
const CLOSE: &str = "Close the old database";

#[tokio::test]
async fn a_restored_dump_continues_exactly() {
    let mut world = World::new(1).await;
    let Some(server) = DatabaseServer::empty().await else {
        return not_run("the servers run in containers");
    };
    let place = Place::new();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::at(&world, RATE, "71", &FLAWS).await;
    more(&mut conn, RATE).await;
    let old = format!("dbname={}", world.database());
    place.carry_out(&world, &commands(BACK_UP, 1), &[("OLD", &old), ("SERVER", "dbname=postgres")]).await;
    let backed_up = Utc::now();
    more(&mut conn, RATE).await;
    let report = load.stop().await;
    let (all, published) = (sent(&report), Utc::now());
    settled(&mut conn, all).await;
    assert_exact(&mut conn, &report).await;
    let expected = Contents::of(&mut conn).await;
    service.kill();
    drop(conn);

    let (new, first) = (server.reached_by("analytics"), server.reached_by("postgres"));
    let variables = [("SERVER", first.as_str()), ("NEW", &new), ("NAME", "analytics")];
    for block in [1, 2] {
        place.carry_out(&world, &commands(RESTORE, block), &variables).await;
    }
    server.serve(&mut world, "analytics");
    place.carry_out(&world, &commands(RESTORE, 3), &[]).await;
    let mut conn = world.connect().await;
    let restored = LedgerSums::of_batches(&mut conn).await.received;
    eprintln!("{restored} of {all} messages are in the backup");
    assert!(restored > 0 && restored < all);

    // As long as nothing can be read, it is as complete as the backup.
    let broker = world.proxy_broker();
    broker.cut();
    let service = world.serve().await;
    let org = an_org(&mut conn).await;
    let complete = as_of(&service, org).await;
    assert!(complete <= backed_up, "complete to {complete}, of a backup of {backed_up}");
    broker.heal();
    read_again(&mut conn, all, published).await;
    settled(&mut conn, all).await;
    assert_exact(&mut conn, &report).await;
    assert_eq!(Contents::of(&mut conn).await, expected);
    eventually("it is complete again", async || (as_of(&service, org).await > published).then_some(())).await;
    place.carry_out(&world, &commands(CHECK, 1), &[]).await;

    // What was stored before the backup is recognised, also with another time.
    let resent = resend(&world, &mut conn).await;
    exact_with_resends(&mut conn, &report, resent).await;
    assert_eq!(Contents::of(&mut conn).await.tables, expected.tables);
    assert_eq!(contradictions(&mut conn).await, Vec::<String>::new());
}

#[tokio::test]
async fn acts_after_the_backup_are_repeated() {
    let mut world = World::new(1).await.unchecked("its database accepts no connections at the end");
    let place = Place::new();
    let old_service = world.serve().await;
    let mut conn = world.connect().await;
    let (kept, erased) = (Uuid::from_u128(0xA1), Uuid::from_u128(0xA2));
    let events = |from: u128| {
        let numbers = (from..from + 100).map(|n| if n % 2 == 0 { (kept, n) } else { (erased, n) });
        numbers.map(|(org, n)| body(&event(org.as_u128(), n, Utc::now()))).collect::<Vec<_>>()
    };
    let org = kept.to_string();
    let made = world.report(&["api-key", "create", "--org", &org, "--role", "org_viewer", "--name", "dashboard"]).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    world.send(events(0)).await;
    settled(&mut conn, 100).await;
    let (old, first) = (format!("dbname={}", world.database()), "dbname=postgres");
    place.carry_out(&world, &commands(BACK_UP, 1), &[("OLD", &old), ("SERVER", first)]).await;
    world.send(events(100)).await;
    settled(&mut conn, 200).await;
    assert!(world.run(&["api-key", "revoke", "--org", &org, id]).await.status.success());
    world.report(&["erase", "--org", &erased.to_string(), "--yes"]).await;
    let expected = Contents::of(&mut conn).await;

    let acts = place.carry_out(&world, &commands(AFTER, 1), &[("OLD", &old)]).await;
    eprintln!("{acts}");
    let name = format!("{}_restored", world.database());
    world.databases.push(name.clone());
    let new = format!("dbname={name}");
    place.carry_out(&world, &commands(RESTORE, 2), &[("SERVER", first), ("NEW", &new), ("NAME", &name)]).await;
    // The old service still runs.
    place.carry_out(&world, &commands(CLOSE, 1), &[("SERVER", first), ("OLD_NAME", world.database())]).await;
    for url in ["ANALYTICS__DATABASE__URL", "ANALYTICS__DATABASE__MIGRATION_URL"] {
        let (server, _) = world.variables[url].rsplit_once('/').unwrap();
        let url_of_new = format!("{server}/{name}");
        world.set(url, &url_of_new);
    }
    place.carry_out(&world, &commands(RESTORE, 3), &[]).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    settled(&mut conn, 200).await;
    let freshness = format!("/analytics/v1/orgs/{kept}/freshness");
    assert_eq!(service.get_by_key(&freshness, key).await.0, StatusCode::OK, "a revoked key works again");
    let back = format!("SELECT count(*) FROM analytics.usage_events WHERE org_id = '{erased}'");
    assert_eq!(number(&mut conn, sqlx::AssertSqlSafe(back)).await, 100, "what was erased is back");
    eventually("the old service has no database", async || {
        let (_, readiness) = old_service.readiness().await?;
        readiness["components"].as_array().unwrap().iter().any(is_away).then_some(())
    })
    .await;
    drop(old_service);

    let mut repeated = 0;
    for act in acts.lines() {
        let [_, what, org, target] = act.split('|').collect::<Vec<_>>()[..] else { panic!("{act}") };
        let args = match what {
            "api_key.revoke" => vec!["api-key", "revoke", "--org", org, target],
            "org.erase" => vec!["erase", "--org", target, "--yes"],
            _ => panic!("{act}"),
        };
        assert!(world.run(&args).await.status.success(), "{act}");
        repeated += 1;
    }
    assert_eq!(repeated, 2, "{acts}");
    eventually("the key is refused", async || {
        (service.get_by_key(&freshness, key).await.0 == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert_eq!(Contents::of(&mut conn).await, expected);
    place.carry_out(&world, &commands(CHECK, 1), &[]).await;
    assert_eq!(contradictions(&mut conn).await, Vec::<String>::new());
}

fn is_away(component: &Value) -> bool {
    component["name"] == "database" && component["state"] == "down"
}
