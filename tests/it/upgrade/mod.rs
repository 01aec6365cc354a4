//! Upgrade and rollback: from the last release to this build and back, process by process, under load.

mod balancer;
mod freshness;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use analytics_service::{auth::Role, store::schema};
use sqlx::PgConnection;
use uuid::Uuid;

use self::{balancer::Balancer, freshness::Watch};
use crate::{
    docs::root,
    harness::{FLAWS, Load, RATE, Service, World, eventually, local_folder, more, not_run, number, scale},
};

const PARTITIONS: u16 = 4;
const PROCESSES: usize = 2;
/// How long a process serves on when it is to end: many looks of the load balancer.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// Longest that the least watermark may stand still. The other process takes the partitions within seconds; a busy machine is slow.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(30);
/// What rebuilds hold merges off with.
const MERGES: &str = "SELECT pg_advisory_lock(x'726f6c6c7570'::bigint)";

/// The program of the last release, where `make released` has built it.
fn released() -> Option<PathBuf> {
    let file = std::fs::read_to_string(root().join("deploy/released")).unwrap();
    let commit = file.lines().find(|line| !line.starts_with('#')).unwrap();
    let program = local_folder().join("released").join(commit).join("analytics-service");
    if program.exists() {
        return Some(program);
    }
    not_run(&format!(
        "the last release, {commit}, is not built: `make released` does it where the clone has its history"
    ));
    None
}

struct Installation {
    world: World,
    conn: PgConnection,
    services: Vec<Service>,
    balancer: Balancer,
}

impl Installation {
    /// Migrates as that build, and replaces one process after another.
    async fn roll_out(&mut self, build: &Path, what: &str) {
        self.world.binary = build.into();
        let since = Instant::now();
        migrate(&self.world).await;
        eprintln!("{what}: migrated in {:.1?}", since.elapsed());
        for _ in 0..PROCESSES {
            let since = Instant::now();
            let leaving = self.services.remove(0);
            let ops = leaving.ops;
            assert_eq!(leaving.terminate().await, Some(0));
            self.balancer.remove(ops);
            let ended = since.elapsed();
            self.start().await;
            let stored = more(&mut self.conn, RATE).await;
            eprintln!(
                "{what}: one ended in {ended:.1?}, its successor was ready after {:.1?}, {RATE} more were stored in {stored:.1?}",
                since.elapsed() - stored
            );
        }
    }

    async fn start(&mut self) {
        let service = self.world.serve().await;
        self.balancer.add(&service);
        self.services.push(service);
    }

    async fn schema(&mut self) -> i64 {
        number(&mut self.conn, "SELECT max(version) FROM public._sqlx_migrations").await
    }
}

async fn migrate(world: &World) {
    let output = world.run(&["migrate"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_and_its_rollback_fail_no_request() {
    let Some(release) = released() else { return };
    let mut world = World::without_schema(PARTITIONS).await;
    world.set("ANALYTICS__DRAIN__ANNOUNCE_MS", &ANNOUNCE.as_millis().to_string());
    let build = std::mem::replace(&mut world.binary, release.clone());
    migrate(&world).await;
    let conn = world.connect().await;
    let mut of = Installation { world, conn, services: Vec::new(), balancer: Balancer::default() };
    let before = of.schema().await;
    for _ in 0..PROCESSES {
        of.start().await;
    }
    let load = Load::at(&of.world, RATE, "81", &FLAWS).await;
    let orgs: Vec<Uuid> = sqlx::query_scalar("SELECT DISTINCT org_id FROM analytics.usage_events LIMIT 4")
        .fetch_all(&mut of.conn)
        .await
        .unwrap();
    let token = of.services[0].token(&orgs, &[Role::OrgAdmin]);
    of.balancer.start(&orgs, &token).await;
    more(&mut of.conn, RATE).await;
    let watch = Watch::start(of.world.connect().await);

    of.roll_out(&build, "upgrade").await;
    assert_eq!(of.schema().await, schema::newest());
    of.roll_out(&release, "rollback").await;
    assert_eq!(of.schema().await, schema::newest(), "the schema stays");
    let (seen, freshness) = (of.balancer.stop().await, watch.stop().await);
    eprintln!(
        "schema {before} to {} and back: {} requests, {} failed; the least watermark stood still for {:.1?} at most, and was {:.1} s \
         behind at most; 503 with Retry-After, and answered later: {:?}",
        schema::newest(),
        seen.requests,
        seen.failures,
        freshness.standstill,
        freshness.behind,
        seen.refused
    );
    assert_eq!(seen.failures, 0, "{:#?}", seen.named);
    // On a machine that is busy with other work, probes may be late.
    let most = if scale() == 1 { seen.requests / 100 } else { 0 };
    assert!(seen.nobody <= most, "no process was ready for {} attempts of {} requests", seen.nobody, seen.requests);
    assert!(freshness.standstill < LONGEST_STANDSTILL, "{freshness:?}");

    of.kill_with_unmerged_rows(&build).await;
    let report = load.exact(&of.world).await;
    eprintln!("exact: {} events, {} resent ones", report["events"], report["duplicates"]);
    of.world.binary = build;
    let verified = of.world.report(&["verify"]).await;
    assert_eq!(verified["differences"], 0, "{verified}");
    for service in of.services {
        assert_eq!(service.terminate().await, Some(0));
    }
}

impl Installation {
    /// A process of this build dies beside those of the release, which have to merge what it has committed.
    async fn kill_with_unmerged_rows(&mut self, build: &Path) {
        self.world.binary = build.into();
        let service = self.world.serve().await;
        let name = format!("%/{}", service.child.id());
        let conn = &mut self.conn;
        eventually("it has its share of the partitions", async || {
            let share = sqlx::query_scalar(
                "SELECT count(*) FROM analytics.partition_offsets JOIN analytics.processes ON process_id = owner WHERE name LIKE $1",
            );
            let share: i64 = share.bind(&name).fetch_one(&mut *conn).await.unwrap();
            (share > 0).then_some(())
        })
        .await;
        // Those before have merged what they had committed of it, or would not have given it back.
        let mut holder = self.world.connect().await;
        sqlx::query(MERGES).execute(&mut holder).await.unwrap();
        let left = eventually("it has committed what is not merged", async || {
            let rows = sqlx::query_scalar(
                "SELECT count(*) FROM analytics.rollup_pending
                 JOIN analytics.partition_offsets o USING (stream, partition)
                 JOIN analytics.processes ON process_id = o.owner WHERE name LIKE $1",
            );
            let rows: i64 = rows.bind(&name).fetch_one(&mut *conn).await.unwrap();
            (rows > 1).then_some(rows)
        })
        .await;
        service.kill();
        drop(holder);
        eprintln!("a process of this build was killed with {left} rows or more that the release has to merge");
    }
}
