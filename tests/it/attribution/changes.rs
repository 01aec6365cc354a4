//! Changes: batches of builds that do not know attribution, new sets, late events, erasures, kills.

use analytics_service::store::attribution::erase;
use chrono::Datelike as _;

use super::{sums::count_days, *};
use crate::harness::{Load, Service, eventually, millis};

fn events(rng: &mut StdRng, org: u128, first: u128, n: u128, now: DateTime<Utc>, hours: i64) -> Vec<Event> {
    (first..first + n).map(|id| random(rng, org, id, now - TimeDelta::minutes(rng_minutes(id, hours)))).collect()
}

/// Spread over the hours, the same for the same id.
fn rng_minutes(id: u128, hours: i64) -> i64 {
    i64::try_from(id * 7919 % 100_000).unwrap() % (hours * 60)
}

async fn assert_whole(fixture: &CommitFixture, org: u128, days: i64) {
    let reader = reader(&fixture.world.settings);
    let now = fixture.claim.now;
    let buckets = covering(now - TimeDelta::days(days), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    let read = read(&reader, &query(org, &buckets, &["clientId"], Vec::new())).await;
    assert_eq!(sums(total(&read)), usage(&reader, org, &buckets).await);
}

#[tokio::test]
async fn batches_of_older_builds_are_counted_again() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(1));
    commit(&mut fixture, &events(&mut rng, 1, 0, 50, now, 48)).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "");
    commit(&mut fixture, &events(&mut rng, 1, 100, 50, now, 48)).await;
    // One that carries less than a set needs.
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "modelId");
    commit(&mut fixture, &events(&mut rng, 2, 200, 50, now, 48)).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    merge_all(&mut fixture).await;
    let buckets = covering(now - TimeDelta::days(4), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    let reader = reader(&fixture.world.settings);
    let as_of = async |org| read(&reader, &query(org, &buckets, &["clientId"], Vec::new())).await.as_of;
    let before = as_of(1).await;
    assert!(before.is_some_and(|before| before <= now), "what is not folded is not known: {before:?}");
    fold_all(&mut fixture).await;
    assert!(as_of(1).await.is_some_and(|day| day <= now - TimeDelta::hours(1)), "days to count are not known");
    assert!(as_of(2).await.is_some_and(|day| day <= now - TimeDelta::hours(1)));
    assert_eq!(differences(&mut fixture.conn, 4).await, [""; 0]);
    count_all(&mut fixture.conn).await;
    assert_whole(&fixture, 1, 4).await;
    assert_whole(&fixture, 2, 4).await;
    assert_eq!(as_of(1).await, Some(now));
    assert_eq!(differences(&mut fixture.conn, 4).await, [""; 0]);
}

#[tokio::test]
async fn a_new_set_gets_its_history() {
    let mut fixture = CommitFixture::new(1).await;
    let (now, mut rng) = (fixture.claim.now, rng(2));
    commit(&mut fixture, &events(&mut rng, 1, 0, 200, now, 24 * 40)).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    want(&mut fixture, 10_000).await;
    let reader = reader(&fixture.world.settings);
    let since = reader.attribution_sets(Uuid::from_u128(1)).await.unwrap();
    assert!(since.len() == 4 && since.iter().all(|set| set.complete_from.is_some_and(|from| from > now)));
    let buckets = covering(now - TimeDelta::days(41), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    let refused = reader.attribution(&query(1, &buckets, &["clientId"], Vec::new()), |_| Vec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("sums of attribution"));
    // What is committed meanwhile, and folded afterwards, counts once.
    commit(&mut fixture, &events(&mut rng, 1, 1000, 50, now, 24 * 40)).await;
    counting::next_of_history(&mut fixture.conn, &forever()).await.unwrap().unwrap();
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    let since = reader.attribution_sets(Uuid::from_u128(1)).await.unwrap();
    assert!(since.iter().all(|set| set.complete_from.is_none()), "{since:?}");
    assert_whole(&fixture, 1, 41).await;
    assert_eq!(differences(&mut fixture.conn, 41).await, [""; 0]);
    // Counting again changes nothing, with something pending or not.
    commit(&mut fixture, &events(&mut rng, 1, 2000, 50, now, 24 * 40)).await;
    count_days(&mut fixture, 41).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert_whole(&fixture, 1, 41).await;
    assert_eq!(differences(&mut fixture.conn, 41).await, [""; 0]);
}

#[tokio::test]
async fn history_months_have_orgs_quiet_on_day_one() {
    let mut fixture = CommitFixture::new(1).await;
    let (now, mut rng) = (fixture.claim.now, rng(7));
    for (org, first) in [(1, 0), (2, 1000)] {
        let mut of_org = events(&mut rng, org, first, 400, now, 24 * 70);
        of_org.retain(|event| org == 1 || event.occurred_at.day() != 1);
        commit(&mut fixture, &of_org).await;
    }
    begin_sets(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    assert_eq!(differences(&mut fixture.conn, 71).await, [""; 0]);
    for org in [1, 2] {
        assert_whole(&fixture, org, 71).await;
    }
    // What is named for such a month repairs it.
    let lose = "DELETE FROM analytics.attribution_parts WHERE unit = 'month' AND set_id = 1 AND org_id = $1";
    sqlx::query(lose).bind(Uuid::from_u128(2)).execute(&mut fixture.conn).await.unwrap();
    let lost = differences(&mut fixture.conn, 71).await;
    assert!(!lost.is_empty());
    for found in lost {
        let command: Vec<&str> = found.split('`').nth(1).unwrap().split(' ').collect();
        fixture.world.report(&command).await;
    }
    assert_eq!(differences(&mut fixture.conn, 71).await, [""; 0]);
}

#[tokio::test]
async fn days_and_months_may_end_while_history_is_counted() {
    let mut fixture = CommitFixture::new(1).await;
    let (now, mut rng) = (fixture.claim.now, rng(8));
    for (org, first) in [(1, 0), (2, 1000)] {
        commit(&mut fixture, &events(&mut rng, org, first, 200, now, 24 * 70)).await;
    }
    begin_sets(&mut fixture).await;
    let mut other = fixture.world.connect().await;
    let settling = async {
        // As if 40 days passed meanwhile.
        for days in -5..40 {
            settle::settle(&mut other, TimeDelta::days(-days), &mut |_| {}).await.unwrap();
            millis(10..100).await;
        }
    };
    tokio::join!(count_all(&mut fixture.conn), settling);
    // It ends where the other one is at work.
    count_all(&mut fixture.conn).await;
    assert_eq!(differences(&mut fixture.conn, 71).await, [""; 0]);
    for org in [1, 2] {
        assert_whole(&fixture, org, 71).await;
    }
}

#[tokio::test]
async fn an_erased_org_leaves_no_name() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(3));
    for (org, first) in [(1, 0), (2, 1000)] {
        let of_org = events(&mut rng, org, first, 100, now, 100);
        let named = of_org.into_iter().map(|event| Event { client_id: Some(format!("secret-{org}")), ..event });
        commit(&mut fixture, &named.collect::<Vec<_>>()).await;
        if org == 1 {
            fold_all(&mut fixture).await;
        }
    }
    let more = events(&mut rng, 1, 5000, 10, now, 100);
    let more: Vec<Event> =
        more.into_iter().map(|event| Event { client_id: Some("secret-1".into()), ..event }).collect();
    commit(&mut fixture, &more).await;
    merge_all(&mut fixture).await;
    assert_eq!(texts_of(&fixture.world, "secret-1").await, 2);
    let report = fixture.world.report(&["erase", "--yes", "--org", &Uuid::from_u128(1).to_string()]).await;
    assert!(report["removed"]["attribution"].as_i64().unwrap() > 0 && report["left"]["attribution"] == 0, "{report}");
    assert_eq!(texts_of(&fixture.world, "secret-1").await, 0);
    fold_all(&mut fixture).await;
    assert_eq!(texts_of(&fixture.world, "secret-1").await, 0);
    assert_eq!(erase::count_org(&mut fixture.conn, Uuid::from_u128(1)).await.unwrap(), 0);
    assert_whole(&fixture, 2, 6).await;
    assert_eq!(differences(&mut fixture.conn, 6).await, [""; 0]);
}

#[tokio::test]
async fn an_erased_person_is_in_no_sum() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(4));
    let person = Uuid::from_u128(102);
    commit(&mut fixture, &events(&mut rng, 1, 0, 200, now, 100)).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    commit(&mut fixture, &events(&mut rng, 1, 1000, 50, now, 100)).await;
    assert_eq!(texts_of(&fixture.world, &person.to_string()).await, 2);
    let report = fixture.world.report(&["erase", "--yes", "--actor", &person.to_string()]).await;
    assert_eq!(report["left"]["attribution"], 0, "{report}");
    assert_eq!(texts_of(&fixture.world, &person.to_string()).await, 0);
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert_whole(&fixture, 1, 6).await;
    assert_eq!(texts_of(&fixture.world, &person.to_string()).await, 0);
    assert_eq!(differences(&mut fixture.conn, 6).await, [""; 0]);
}

#[tokio::test]
async fn attribution_verifies_with_either_engine() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(5));
    commit(&mut fixture, &events(&mut rng, 1, 0, 300, now - TimeDelta::days(2), 24 * 9)).await;
    merge_all(&mut fixture).await;
    crate::engines::to_continuous(&fixture.world).await;
    commit(&mut fixture, &events(&mut rng, 1, 1000, 100, now, 24 * 11)).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert_whole(&fixture, 1, 12).await;
    assert_eq!(differences(&mut fixture.conn, 12).await, [""; 0]);
    count_days(&mut fixture, 12).await;
    assert_whole(&fixture, 1, 12).await;
    assert_eq!(differences(&mut fixture.conn, 12).await, [""; 0]);
}

#[tokio::test]
async fn kills_lose_and_double_no_sum() {
    let mut world = World::new(2).await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let mut conn = world.connect().await;
    let load = Load::launch(&world, "5", &crate::harness::FLAWS);
    for _ in 0..6 {
        let service = Service::launch(&world);
        millis(500..4000).await;
        service.kill();
    }
    let _service = Service::launch(&world);
    load.exact(&world).await;
    eventually("all is folded and counted", async || {
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM analytics.attribution_pending) + (SELECT count(*) FROM analytics.attribution_recounts)
                  + (SELECT count(*) FROM analytics.attribution_unattributed)
                  + (SELECT count(*) FROM analytics.attribution_sets WHERE complete_from > '1970-01-01')",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        let sets: i64 =
            sqlx::query_scalar("SELECT count(*) FROM analytics.attribution_sets").fetch_one(&mut conn).await.unwrap();
        (left == 0 && sets == 2).then_some(())
    })
    .await;
    let report = world.report(&["verify"]).await;
    assert_eq!(report["holds"], true, "{report}");
    let parts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM analytics.attribution_parts").fetch_one(&mut conn).await.unwrap();
    assert!(parts > 0);
}
