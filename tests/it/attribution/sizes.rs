//! Sizes: what an estimate says before, and what is there afterwards.

use super::*;

/// Events of some whole days before today, of two orgs.
async fn days_of_events(fixture: &mut CommitFixture, days: i64) {
    let (today, mut rng) = (analytics_service::domain::calendar::utc_day(fixture.claim.now), rng(21));
    let mut id = 0;
    for day in 1..=days {
        for org in 0..2 {
            let events: Vec<Event> = (0..400)
                .map(|_| {
                    id += 1;
                    let at = today - TimeDelta::days(day) + TimeDelta::minutes(rng.random_range(0..24 * 60));
                    random(&mut rng, org, id, at)
                })
                .collect();
            commit(fixture, &events).await;
        }
    }
    merge_all(fixture).await;
}

#[tokio::test]
async fn an_estimate_is_what_comes_of_it() {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", SETS);
    days_of_events(&mut fixture, 3).await;
    let arguments = ["attribution", "estimate", "--days", "3", "--max-keys", "100"];
    let estimate = fixture.world.report(&arguments).await;
    assert_eq!((&estimate["days"], &estimate["events"], &estimate["daysLeft"]), (&3.into(), &2400.into(), &0.into()));
    assert_eq!(estimate["daysWithEvents"], 3);
    let none: i64 = query_one(&mut fixture.conn, "SELECT count(*) FROM analytics.attribution_parts").await;
    assert_eq!(none, 0, "it changes nothing");
    want(&mut fixture, 100).await;
    age(&mut fixture, 4).await;
    fold_all(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    // Yesterday is over at any time of today.
    settle::settle(&mut fixture.conn, TimeDelta::zero(), &mut |_| {}).await.unwrap();
    let sets = estimate["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 4);
    for (set, id) in sets.iter().zip(1..) {
        let (hours, days, bytes, keys): (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE unit = 'hour'), count(*) FILTER (WHERE unit = 'day'),
                    sum(octet_length(packed)) FILTER (WHERE unit <> 'month')::bigint,
                    (SELECT sum(octet_length(packed)) FROM analytics.attribution_keys WHERE set_id = $1)::bigint
             FROM analytics.attribution_parts WHERE set_id = $1",
        )
        .bind(id)
        .fetch_one(&mut fixture.conn)
        .await
        .unwrap();
        let n = |name: &str| set[name].as_i64().unwrap();
        assert!((n("rowsADay") - (hours + 2 * days) / 3).abs() <= 1, "{set}: {hours} hours, {days} days");
        let stored = (bytes + keys) / 3 + n("rowsADay") * 190;
        assert!((n("bytesADay") - stored).abs() * 50 < stored, "{set}: {stored} bytes");
        assert!(n("mostKeys") <= 100 && n("keysAMonth") >= n("keysADay") && n("retentionDays") == 400, "{set}");
        assert!(n("bytes") > 300 * n("bytesADay"), "{set}");
    }
    assert!(sets[1]["beyondCap"].as_f64().unwrap() > 0.0 && sets[0]["beyondCap"] == 0.0, "{estimate}");
    let sizes = &fixture.world.report(&["maintain"]).await["attributionSizes"];
    let parts: i64 = query_one(&mut fixture.conn, "SELECT count(*) FROM analytics.attribution_parts").await;
    let sum = |name: &str| sizes["sets"].as_array().unwrap().iter().map(|set| set[name].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("parts"), &sizes["exact"], &sizes["pendingBatches"]), (parts, &true.into(), &0.into()), "{sizes}");
    assert!(sum("bytes") > 1000 && sum("keys") > 50, "{sizes}");
    let clients = sizes["values"].as_array().unwrap().iter().find(|of| of["dimension"] == "clientId").unwrap();
    assert_eq!(clients["values"], 2 * 8);
}

#[tokio::test]
async fn an_estimate_ends_with_its_time() {
    let mut fixture = CommitFixture::new(1).await;
    days_of_events(&mut fixture, 2).await;
    let world = &fixture.world;
    let only = world.report(&["attribution", "estimate", "--sets", "30 days: modelId", "--days", "2"]).await;
    assert_eq!((only["sets"].as_array().unwrap().len(), &only["sets"][0]["retentionDays"]), (1, &30.into()), "{only}");
    let output = world.run(&["attribution", "estimate"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("a mean of "), "{said}");
    for (arguments, code) in [(["--sets", "what"], 2), (["--days", "401"], 2), (["--sets", ""], 2)] {
        let done = world.run(&[&["attribution", "estimate"], &arguments[..]].concat()).await;
        assert_eq!(done.status.code(), Some(code), "{arguments:?}");
    }
    // A table that nobody may read meanwhile: the time passes.
    let mut owner = world.connect_as_owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE analytics.usage_events").execute(&mut owner).await.unwrap();
    let done = world.run(&["attribution", "estimate", "--within", "1"]).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && said.contains("timeout"), "{said}");
    sqlx::raw_sql("ROLLBACK").execute(&mut owner).await.unwrap();
}
