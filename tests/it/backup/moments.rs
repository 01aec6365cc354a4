//! A physical backup and the write-ahead log, restored to a moment that was chosen afterwards.

use chrono::Utc;

use super::{Contents, RATE, next_offset};
use crate::{
    harness::{
        DatabaseServer, FLAWS, Load, Place, World, assert_exact, commands, contradictions, eventually, more, not_run,
        number, sent, settled,
    },
    watermarks::lost_commits::read_again,
};

const ARCHIVE: &str = "Archive the write-ahead log";
const BASE: &str = "Back up the server's files";
const RESTORE: &str = "Restore to a moment";
const CHECK: &str = "Check what was restored";

#[tokio::test]
async fn a_restored_moment_continues_exactly() {
    let mut world = World::new(1).await;
    let Some(server) = DatabaseServer::empty().await else {
        return not_run("the servers run in containers");
    };
    let (place, path) = (Place::new(), |name| server.path(name));
    let (first, archive, base, restored) =
        (server.reached_by("postgres"), path("archive"), path("base"), path("restored"));
    let variables = [("SERVER", first.as_str()), ("ARCHIVE", &archive), ("BASE", &base), ("RESTORED", &restored)];
    server.run(&commands(ARCHIVE, 1), &variables).await;
    server.provision(&world).await;
    server.serve(&mut world, "analytics");
    assert!(world.run(&["migrate"]).await.status.success());
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::at(&world, RATE, "72", &FLAWS).await;
    more(&mut conn, RATE).await;
    server.run(&commands(BASE, 1), &variables).await;
    more(&mut conn, RATE).await;
    let at_moment = next_offset(&mut conn).await;
    let moment = server.query("SELECT clock_timestamp()").await;
    more(&mut conn, RATE).await;
    // What made somebody choose that moment.
    let mut owner = world.connect_as_owner().await;
    sqlx::query("DELETE FROM analytics.usage_events").execute(&mut owner).await.unwrap();
    let report = load.stop().await;
    let (all, published) = (sent(&report), Utc::now());
    settled(&mut conn, all).await;
    assert_eq!(service.terminate().await, Some(0));
    let segment = server.query("SELECT pg_walfile_name(pg_switch_wal())").await;
    eventually("the last segment is archived", async || {
        let archived = server.query("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver").await;
        (archived >= segment).then_some(())
    })
    .await;
    drop((conn, owner));
    server.kill().await;

    server.run(&commands(RESTORE, 1), &[&variables[..], &[("MOMENT", &moment)]].concat()).await;
    let server = server.beside("restored").await;
    eventually("it accepts changes", async || (server.query("SELECT pg_is_in_recovery()").await == "f").then_some(()))
        .await;
    server.serve(&mut world, "analytics");
    let mut conn = world.connect().await;
    let continues_at = next_offset(&mut conn).await;
    eprintln!("restored to offset {continues_at} of {all}; at the moment it was {at_moment} or a little more");
    assert!(continues_at >= at_moment && continues_at < all, "{continues_at} of {all}, {at_moment} at the moment");
    let _service = world.serve().await;
    read_again(&mut conn, all, published).await;
    settled(&mut conn, all).await;
    assert_exact(&mut conn, &report).await;
    let stored = number(&mut conn, "SELECT count(*) FROM analytics.usage_events").await;
    assert_eq!(Contents::of(&mut conn).await.ledger.stored, stored);
    place.carry_out(&world, &commands(CHECK, 1), &[]).await;
    assert_eq!(contradictions(&mut conn).await, Vec::<String>::new());
}
