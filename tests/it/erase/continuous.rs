//! Erasing where continuous aggregates keep the rollups: what they have materialised goes too, also of hours whose raw events
//! are past their retention.

use serde_json::json;

use super::*;
use crate::engines::{LIVE, day, materialised, purge_raw, switch, to_continuous};

/// Everything that readers see of orgs, by hour and by day.
async fn shown(conn: &mut PgConnection) -> [BTreeMap<Uuid, Totals>; 2] {
    [Totals::rolled_up(conn, "hourly_usage").await, Totals::rolled_up(conn, "daily_usage").await]
}

/// Rows of an org that are materialised, whatever readers see of them.
async fn materialised_of(conn: &mut PgConnection, org: Uuid) -> i64 {
    let hours = count(conn, "SELECT count(*) FROM analytics.hourly_materialised WHERE org_id = $1", org).await;
    hours + count(conn, "SELECT count(*) FROM analytics.daily_materialised WHERE org_id = $1", org).await
}

/// An event of yesterday, which comes so late that its hour was final.
fn late(tenant: &Tenant, person: Option<Uuid>) -> Event {
    let mut event = event(0, 0, day(0) - TimeDelta::hours(12));
    (event.org_id, event.event_id, event.actor_id) = (tenant.org, Uuid::new_v4(), person);
    event
}

async fn revisions(conn: &mut PgConnection, org: Uuid) -> Vec<(String, i64)> {
    let statement = "SELECT reason, sum(after_invocations - before_invocations)::bigint FROM analytics.rollup_revisions
                     WHERE org_id = $1 GROUP BY 1 ORDER BY 1";
    sqlx::query_as(statement).bind(org).fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn aggregates_keep_nothing_of_an_erased_org() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let (erased, other) = (Tenant::new(), Tenant::new());
    world.send(bodies(&erased.events(1500))).await;
    world.send(bodies(&other.events(900))).await;
    settled(&mut conn, 2400).await;
    // The oldest days stay live rollups, the next ones are materialised and lose their raw events.
    purge_raw(&mut conn, day(2)).await;
    to_continuous(&world).await;
    // What comes late is in the tables.
    world.send(bodies(&[late(&erased, None), late(&other, None)])).await;
    settled(&mut conn, 2402).await;
    purge_raw(&mut conn, day(1)).await;
    let before = shown(&mut conn).await;
    assert!(before.iter().all(|totals| totals.len() == 2 && totals[&erased.org].invocations >= 1500));
    let usage_of_other = usage(&service, other.org).await;
    let ledger = LedgerSums::of_hours(&mut conn).await;
    let noted: i64 = revisions(&mut conn, other.org).await.iter().map(|(_, changes)| changes).sum();
    let org = erased.org.to_string();
    let planned = erase(&world, &["--org", &org, "--dry-run"]).await;
    assert!(planned["left"]["hourlyRollups"].as_i64().unwrap() > materialised_of(&mut conn, erased.org).await / 2);

    let report = erase(&world, &["--org", &org, "--yes"]).await;
    assert_nothing(&report["left"]);
    assert_removed(&report, &planned);
    assert_eq!(materialised_of(&mut conn, erased.org).await, 0);
    assert_eq!(tables_with(&mut conn, erased.org).await, KEEP);
    let mut after = before;
    after.iter_mut().for_each(|totals| assert!(totals.remove(&erased.org).is_some()));
    assert_eq!(shown(&mut conn).await, after, "and nothing else");
    assert_eq!(super::ask_usage(&service, erased.org).await.0, 400, "what was erased is refused");
    assert_eq!(usage(&service, other.org).await, usage_of_other);
    assert_eq!(LedgerSums::of_hours(&mut conn).await, ledger);

    world.report(&["refresh", "--late"]).await;
    assert_eq!(shown(&mut conn).await, after, "a refresh brings nothing back");
    assert_eq!(revisions(&mut conn, other.org).await.iter().map(|(_, changes)| changes).sum::<i64>(), noted);
    assert_eq!(revisions(&mut conn, erased.org).await, []);
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn aggregates_are_made_again_without_an_erased_person() {
    let (tenant, other) = (Tenant::new(), Tenant::new());
    let person = tenant.people[0];
    let events = tenant.events(1200);
    let (world, service, mut conn) = materialised([bodies(&events), bodies(&other.events(300))].concat()).await;
    sqlx::query("DELETE FROM analytics.rollup_revisions").execute(&mut conn).await.unwrap();
    // What others sent late is no part of the erasure.
    world.send(bodies(&[late(&tenant, None)])).await;
    settled(&mut conn, 1501).await;
    assert_eq!(revisions(&mut conn, tenant.org).await, [("late".to_owned(), 1)]);
    let of_other = shown(&mut conn).await.map(|mut totals| totals.remove(&other.org).unwrap());
    let id = person.to_string();

    let report = erase(&world, &["--actor", &id, "--yes"]).await;
    let gone = events.len() - stays(&events, person);
    assert_eq!(report["removed"]["rawEvents"], gone);
    assert!(report["daysCountedAgain"].as_u64().unwrap() > 1, "{report}");
    for totals in shown(&mut conn).await {
        assert_eq!(totals[&tenant.org].invocations, i64::try_from(stays(&events, person) + 1).unwrap());
    }
    assert_eq!(shown(&mut conn).await.map(|mut totals| totals.remove(&other.org).unwrap()), of_other);
    assert_eq!(usage(&service, tenant.org).await["invocations"], stays(&events, person) + 1);
    let noted = revisions(&mut conn, tenant.org).await;
    assert_eq!((noted[0].0.as_str(), noted[1].clone()), ("erasure", ("late".to_owned(), 1)));
    // Hours that were not final yet are in no revision.
    assert!(noted[0].1 < 0 && -noted[0].1 <= i64::try_from(gone).unwrap());
    let revised = "SELECT count(*) FROM analytics.rollup_revisions WHERE org_id = $1 AND reason = 'erasure'";
    assert_eq!(report["revisionsAdded"], count(&mut conn, revised, tenant.org).await);
    assert_eq!(tables_with(&mut conn, person).await, ["audit_events"]);
    assert_verified(&world).await;
    assert_nothing(&erase(&world, &["--actor", &id, "--yes"]).await["removed"]);
    world.report(&["refresh", "--late"]).await;
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn erasing_during_a_switch_clears_both_engines() {
    let (erased, tenant) = (Tenant::new(), Tenant::new());
    let events = tenant.events(600);
    let (world, service, mut conn) = materialised(bodies(&erased.events(600))).await;
    // As a switch leaves it that was ended on its way.
    let mut owner = world.connect_as_owner().await;
    sqlx::query("UPDATE analytics.rollup_engine SET leaving = true").execute(&mut owner).await.unwrap();
    sqlx::query("SELECT analytics.move_cut_back('hourly')").execute(&mut owner).await.unwrap();
    world.send(bodies(&erased.events(200))).await;
    world.send(bodies(&events)).await;
    settled(&mut conn, 1400).await;
    let live = Totals::rolled_up(&mut conn, "hourly_rollups").await;
    assert!(live.contains_key(&erased.org) && materialised_of(&mut conn, erased.org).await > 0);
    let (org, person) = (erased.org.to_string(), tenant.people[0].to_string());
    // Hours behind the cut are in both places, and readers see one.
    let mut rollups = [0_i64; 2];
    for (unit, rows) in ["hourly", "daily"].into_iter().zip(&mut rollups) {
        let seen = format!("SELECT count(*) FROM analytics.{unit}_usage WHERE org_id = $1");
        *rows = sqlx::query_scalar(AssertSqlSafe(seen)).bind(erased.org).fetch_one(&mut conn).await.unwrap();
    }
    let report = erase(&world, &["--org", &org, "--yes"]).await;
    assert_nothing(&report["left"]);
    assert_eq!(json!(rollups), json!([report["removed"]["hourlyRollups"], report["removed"]["dailyRollups"]]));
    let report = erase(&world, &["--actor", &person, "--yes"]).await;
    assert_eq!(report["removed"]["rawEvents"], events.len() - stays(&events, tenant.people[0]));
    assert_eq!(materialised_of(&mut conn, erased.org).await, 0);
    assert_eq!(tables_with(&mut conn, erased.org).await, KEEP);
    let left = i64::try_from(stays(&events, tenant.people[0])).unwrap();
    for totals in shown(&mut conn).await {
        assert_eq!((totals.len(), totals[&tenant.org].invocations), (1, left));
    }
    switch(&world, LIVE).await;
    for table in ["hourly_rollups", "daily_rollups"] {
        let totals = Totals::rolled_up(&mut conn, table).await;
        assert_eq!((totals.len(), totals[&tenant.org].invocations), (1, left), "{table}");
    }
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_killed_aggregate_erasure_can_be_rerun() {
    let world = World::new(2).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let flaws = ["--events", "4000", "--orgs", "8", "--models", "3", "--seed", "53", "--late", "0.01"];
    let published = world.publish(&flaws).await;
    let mut messages = sent(&published);
    settled(&mut conn, messages).await;
    to_continuous(&world).await;
    let mut expected: BTreeMap<Uuid, usize> = BTreeMap::new();
    for round in 0..8 {
        let tenant = Tenant::new();
        let events = tenant.events(800);
        world.send(bodies(&events)).await;
        messages += 800;
        settled(&mut conn, messages).await;
        world.report(&["refresh", "--late"]).await;
        let (org, person) = (tenant.org.to_string(), tenant.people[1].to_string());
        let whole = round % 2 == 0;
        let args = if whole { ["erase", "--yes", "--org", &org] } else { ["erase", "--yes", "--actor", &person] };
        world.kill(&args, 50..700).await;
        // A refresh may come in between, as the database's own job does.
        if round % 4 > 1 {
            world.report(&["refresh", "--late"]).await;
        }
        assert_nothing(&erase(&world, &args[1..]).await["left"]);
        let stays = if whole { 0 } else { stays(&events, tenant.people[1]) };
        for totals in shown(&mut conn).await {
            assert_eq!(totals.get(&tenant.org).map_or(0, |totals| totals.invocations), i64::try_from(stays).unwrap());
        }
        let noted = revisions(&mut conn, tenant.org).await;
        // However often it was begun, revisions name all that was final.
        assert_eq!(noted.iter().any(|(reason, _)| reason == "erasure"), !whole, "{noted:?}");
        expected.insert(tenant.org, stays);
    }
    world.report(&["refresh", "--late"]).await;
    assert_verified(&world).await;
    for mut totals in shown(&mut conn).await {
        for (org, stays) in &expected {
            let there = totals.remove(org).map_or(0, |totals| totals.invocations);
            assert_eq!(usize::try_from(there).unwrap(), *stays);
        }
        assert_eq!(totals, Totals::published(&published));
    }
    assert_eq!(service.terminate().await, Some(0));
}
