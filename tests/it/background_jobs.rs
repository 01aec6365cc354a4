//! The database's background jobs, watched by the service, which runs what is overdue. What the Apache edition does not have, its jobs and what is
//! materialised, is stood in for by functions of the same names.

use analytics_service::store::{
    lifecycle::maintain::Rules,
    rollups::{
        background_jobs::{self, BackgroundJobs},
        engine,
    },
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    engines::{begin_continuous, is_community},
    harness::{Service, World, eventually, not_run, number, settled, stack},
    store_commit::{body, event},
};

/// Stands in for the jobs, each as (id, name, in how many seconds the database starts it): run every 900 seconds, last 5,000
/// seconds ago, never with success.
async fn stand_in(owner: &mut PgConnection, jobs: &str) {
    let statement = format!(
        "DROP FUNCTION analytics.background_jobs, analytics.run_job_soon;
         CREATE FUNCTION analytics.background_jobs()
         RETURNS TABLE (job_id integer, job text, scheduled boolean, every_seconds bigint, started_at timestamptz,
                        succeeded_at timestamptz, next_start_at timestamptz, failures bigint, config jsonb)
         LANGUAGE sql STABLE AS $$
             SELECT id, name, true, 900, now() - INTERVAL '5000 s', NULL::timestamptz,
                    now() + starts_in * INTERVAL '1 s', 12, '{{\"compress_after\": \"7 days\"}}'::jsonb
             FROM (VALUES {jobs}) AS jobs (id, name, starts_in)
         $$;
         CREATE TABLE IF NOT EXISTS public.asked_for (job_id integer);
         CREATE FUNCTION analytics.run_job_soon(id integer) RETURNS void LANGUAGE sql SECURITY DEFINER AS
             'INSERT INTO public.asked_for VALUES (id)'"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(owner).await.unwrap();
}

/// Stands in for continuous aggregates that readers see, materialised up to so long ago.
async fn materialised(owner: &mut PgConnection, ago: &str) {
    let statement = format!(
        "UPDATE analytics.rollup_engine SET engine = 'continuous', continuous_from = 'epoch', daily_to = 'epoch',
             hourly_to = now() - INTERVAL '{ago}'"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(owner).await.unwrap();
}

async fn run(owner: &mut PgConnection, statement: &'static str) {
    sqlx::query(statement).execute(owner).await.unwrap();
}

async fn read(world: &World) -> BackgroundJobs {
    let rules = Rules::of(&world.settings);
    background_jobs::read(&mut world.connect().await, &rules.refresh).await.unwrap()
}

/// For how long the refresh has had something to do, in whole minutes.
async fn refresh_waits(world: &World) -> Option<i64> {
    let refresh = read(world).await.jobs.into_iter().find(|job| job.job == "refresh")?;
    refresh.waits_seconds.map(|seconds| seconds / 60)
}

#[tokio::test]
async fn a_refresh_waits_by_what_it_left_undone() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let none = read(&world).await;
    assert_eq!((none.jobs.len(), none.materialisation_lag_seconds, none.to_string().as_str()), (0, None, "none"));
    // Twice, as the extension shows a job at work with a parallel worker.
    stand_in(&mut owner, "(1, 'refresh', 3600), (1, 'refresh', 3600)").await;
    assert_eq!(read(&world).await.jobs.len(), 1);
    assert_eq!(refresh_waits(&world).await, None, "no reader sees continuous aggregates");

    materialised(&mut owner, "5 hours").await;
    assert_eq!(read(&world).await.materialisation_lag_seconds.map(|lag| (lag / 3600.0).round()), Some(5.0));
    assert_eq!(refresh_waits(&world).await, None, "it is unknown what is complete");
    // The hour that ended four hours ago is final an hour later, which is known since the watermark passed that.
    let stream = &world.settings.broker.stream;
    sqlx::query("INSERT INTO analytics.partition_watermarks (stream, partition, watermark) VALUES ($1, 0, now() - INTERVAL '9 minutes 30 seconds')")
        .bind(stream)
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(refresh_waits(&world).await, Some(2 * 60 + 50));
    materialised(&mut owner, "2 hours").await;
    assert_eq!(refresh_waits(&world).await, Some(0), "the next hour is not final yet");
    run(&mut owner, "UPDATE analytics.rollup_engine SET leaving = true").await;
    assert_eq!(refresh_waits(&world).await, None, "on its way back nothing is to be materialised");
    run(&mut owner, "UPDATE analytics.rollup_engine SET leaving = false, hourly_to = hourly_to - INTERVAL '3 hours'")
        .await;
    assert_eq!(refresh_waits(&world).await, Some(2 * 60 + 50));
    let jobs = read(&world).await;
    assert!(jobs.jobs[0].is_overdue() && jobs.has_overdue());
    let said = jobs.to_string();
    assert!(said.starts_with("refresh: last success never, 12 failures, overdue"), "{said}");
    assert!(said.contains("materialised up to 18"), "{said}");
}

#[tokio::test]
async fn overdue_jobs_are_shown_and_run() {
    let mut world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    // A day that should have been compressed for five days, and a job that has nothing to do.
    stand_in(&mut owner, "(7, 'compression', 3600), (8, 'other', 3600)").await;
    world.set("ANALYTICS__MAINTENANCE__ENABLED", "true");
    world.set("ANALYTICS__MAINTENANCE__CHECK_SECONDS", "1");
    // Where the edition can compress, it does not.
    world.set("ANALYTICS__MAINTENANCE__COMPRESS_AFTER_DAYS", "0");
    let service = world.serve().await;
    world.send([body(&event(1, 1, Utc::now() - TimeDelta::days(12)))]).await;
    settled(&mut owner, 1).await;
    eventually("it is run", async || {
        let asked = sqlx::query_scalar("SELECT job_id FROM public.asked_for").fetch_all(&mut owner);
        let asked: Vec<i32> = asked.await.unwrap();
        assert!(asked.iter().all(|id| *id == 7), "{asked:?}");
        (!asked.is_empty()).then_some(())
    })
    .await;
    let value = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    };
    // For four days or more.
    let text = eventually("they are shown", async || {
        let text = service.metrics().await;
        let waiting = value(&text, "analytics_background_job_waiting_seconds{job=\"compression\"}");
        waiting.is_some_and(|seconds| seconds > 4.0 * 86_400.0).then_some(text)
    })
    .await;
    let value = |series: &str| value(&text, series).unwrap_or_else(|| panic!("{series} is not in\n{text}"));
    assert!((value("analytics_background_jobs") - 2.0).abs() < 0.1);
    assert!((value("analytics_background_job_failures{job=\"compression\"}") - 12.0).abs() < 0.1);
    assert!(value("analytics_materialisation_lag_seconds").abs() < 0.1);
    assert!(!text.contains("analytics_background_job_waiting_seconds{job=\"other\"}"));
    let (status, readiness) = service.readiness().await.unwrap();
    let part = readiness["components"].as_array().unwrap().iter().find(|part| part["name"] == "background_jobs");
    let part = part.unwrap_or_else(|| panic!("{readiness}"));
    assert_eq!((status.as_u16(), &readiness["status"], &part["state"]), (200, &"ready".into(), &"up".into()));
    let detail = part["detail"].as_str().unwrap();
    assert!(detail.contains("compression: last success never, 12 failures, overdue"), "{detail}");

    // A database that starts no jobs: what only the owner may do is not done without one.
    stand_in(&mut owner, "(7, 'compression', -600)").await;
    world.set("ANALYTICS__DATABASE__MIGRATION_URL", "");
    let report: Value = world.report(&["maintain"]).await;
    let said = "compression: the database starts no jobs, and database.migration_url is not set";
    assert_eq!(report["overdueJobsRun"], json!([said]), "{report}");

    // Where jobs are gone, so is what was said of them.
    assert_eq!(report["backgroundJobs"]["jobs"][0]["failures"], 12, "{report}");
    stand_in(&mut owner, "(8, 'other', 3600)").await;
    eventually("its series are gone", async || {
        (!service.metrics().await.contains("job=\"compression\"")).then_some(())
    })
    .await;
    assert_eq!(service.terminate().await, Some(0));
}

/// A world whose database has a job that compresses, has run it once, and has a day to compress by now. None where the edition
/// has no jobs.
async fn with_a_job() -> Option<(World, Service)> {
    let world = World::new(1).await;
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let license: String = sqlx::query_scalar("SHOW timescaledb.license").fetch_one(&mut conn).await.unwrap();
    if license != "timescale" {
        let why = format!("background jobs need TimescaleDB's Community edition, and the licence here is {license}");
        not_run(&why);
        return None;
    }
    let report = world.report(&["maintain"]).await;
    assert_eq!(report["compression"]["state"], "scheduled", "{report}");
    eventually("the database has run it once", async || {
        let started = "SELECT started_at IS NOT NULL AND next_start_at IS NOT NULL FROM analytics.background_jobs()";
        sqlx::query_scalar::<_, bool>(started).fetch_one(&mut conn).await.unwrap().then_some(())
    })
    .await;
    // As after many runs that it took for failed.
    run(
        &mut owner,
        "SELECT public.alter_job(job_id, schedule_interval => INTERVAL '2 s', next_start => now() + INTERVAL '10 days')
         FROM analytics.background_jobs()",
    )
    .await;
    let service = world.serve().await;
    world.send([body(&event(1, 1, Utc::now() - TimeDelta::days(12)))]).await;
    settled(&mut conn, 1).await;
    Some((world, service))
}

/// Maintains until overdue jobs are run in that way, and the day is compressed.
async fn until_run(world: &World, said: &str) {
    eventually("it is run", async || {
        let report = world.report(&["maintain"]).await;
        (report["overdueJobsRun"] == json!([said])).then_some(())
    })
    .await;
    let mut conn = world.connect().await;
    eventually("the day is compressed", async || {
        let compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed";
        (number(&mut conn, compressed).await == 1).then_some(())
    })
    .await;
    assert_eq!(read(world).await.jobs[0].waits_seconds, Some(0), "there is nothing left to compress");
}

#[tokio::test]
async fn a_job_that_backs_off_is_run() {
    let Some((world, service)) = with_a_job().await else { return };
    until_run(&world, "compression is run by the database now").await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn an_overdue_job_is_run_here() {
    let Some((world, service)) = with_a_job().await else { return };
    let mut owner = world.connect_as_owner().await;
    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut owner).await.unwrap();
    let stop = "SELECT _timescaledb_functions.stop_background_workers()";
    stack(&["exec", "postgres", "psql", "--no-psqlrc", "-c", stop, &database]);
    run(
        &mut owner,
        "SELECT public.alter_job(job_id, next_start => now() - INTERVAL '10 minutes') FROM analytics.background_jobs()",
    )
    .await;
    until_run(&world, "compression was run by the service: the database starts no jobs").await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn an_overdue_refresh_is_run_here() {
    let mut world = World::new(1).await;
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let service = world.serve().await;
    let past = (0..200_u16).map(|n| body(&event(1, n.into(), Utc::now() - TimeDelta::hours(5 + i64::from(n)))));
    world.send(past).await;
    settled(&mut conn, 200).await;
    let stored: i64 = rows_of_the_table(&mut conn).await;
    assert!(stored > 150, "each hour has one");
    begin_continuous(&world).await;
    if is_community(&mut conn).await {
        // The job of a server that has no workers left for it.
        let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut owner).await.unwrap();
        let stop = "SELECT _timescaledb_functions.stop_background_workers()";
        stack(&["exec", "postgres", "psql", "--no-psqlrc", "-c", stop, &database]);
        let rules = Rules::of(&world.settings).refresh;
        engine::schedule(&mut owner, &rules, TimeDelta::minutes(15)).await.unwrap();
        let late = "SELECT public.alter_job(job_id, next_start => now() - INTERVAL '10 minutes') FROM analytics.background_jobs()";
        run(&mut owner, late).await;
    } else {
        stand_in(&mut owner, "(1, 'refresh', -600)").await;
    }
    assert_eq!(service.terminate().await, Some(0));
    world.set("ANALYTICS__MAINTENANCE__ENABLED", "true");
    world.set("ANALYTICS__MAINTENANCE__CHECK_SECONDS", "1");
    let service = world.serve().await;
    // In a maintenance run, or at a look at the jobs, whichever is first.
    eventually("the service has refreshed", async || {
        let done = "SELECT count(*) > 0 FROM analytics.maintenance_runs WHERE task IN ('jobs', 'maintain') AND outcome = 'done'
                      AND summary -> 'overdueJobsRun' = '[\"refresh was run by the service: the database starts no jobs\"]'";
        sqlx::query_scalar::<_, bool>(done).fetch_one(&mut conn).await.unwrap().then_some(())
    })
    .await;
    // Only what is not final yet is as it was.
    let to: bool = sqlx::query_scalar("SELECT hourly_to > now() - INTERVAL '3 hours' FROM analytics.rollup_engine")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(to && rows_of_the_table(&mut conn).await < 10, "what is final is materialised");
    assert_eq!(refresh_waits(&world).await, Some(0), "there is nothing left to materialise");
    assert_eq!(world.report(&["verify"]).await["holds"], true);
    assert_eq!(service.terminate().await, Some(0));
}

async fn rows_of_the_table(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT count(*) FROM analytics.hourly_rollups").await
}

#[tokio::test]
async fn an_overdue_refresh_reports_its_steps() {
    let world = World::new(1).await;
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let service = world.serve().await;
    world.send((5..55_u16).map(|n| body(&event(1, n.into(), Utc::now() - TimeDelta::hours(i64::from(n)))))).await;
    settled(&mut conn, 50).await;
    begin_continuous(&world).await;
    stand_in(&mut owner, "(1, 'refresh', -600)").await;
    let (rules, jobs) = (Rules::of(&world.settings), read(&world).await);
    let mut steps = Vec::new();
    let mut on_step = |step: &str| steps.push(step.to_owned());
    let run = background_jobs::run_overdue(&mut conn, &rules.database, &rules.refresh, &jobs, &mut on_step).await;
    assert_eq!(run.unwrap(), ["refresh was run by the service: the database starts no jobs"]);
    assert!(steps.len() >= 2 && steps.iter().all(|step| step.starts_with("materialised up to")), "{steps:?}");
    assert_eq!(service.terminate().await, Some(0));
}
