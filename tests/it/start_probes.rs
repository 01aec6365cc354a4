//! A start that finds what waiting does not bring ends with what to do.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::{Service, World, eventually, not_run, settled};

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// Starts the service with other addresses of servers, waits until it ends by itself, and gives its exit code and its log.
async fn refused(world: &World) -> (Option<i32>, String) {
    let log = std::env::temp_dir().join(format!("{}.log", world.settings.broker.stream));
    let mut child = world
        .command(&["serve"])
        .envs(&world.routes)
        .env("ANALYTICS__HTTP__ADDRESS", "127.0.0.1:0")
        .env("ANALYTICS__OPS__ADDRESS", "127.0.0.1:0")
        .stderr(fs::File::create(&log).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = tokio::time::timeout(std::time::Duration::from_secs(50), async {
        eventually("the service ends", async || child.try_wait().unwrap()).await
    })
    .await;
    if status.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    (status.unwrap_or_else(|_| panic!("the service waits: {text}")).code(), text)
}

#[tokio::test]
async fn a_missing_right_is_named_at_start() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    sqlx::raw_sql("REVOKE DELETE ON analytics.rollup_pending FROM analytics_service")
        .execute(&mut owner)
        .await
        .unwrap();
    let (code, log) = refused(&world).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("DELETE on analytics.rollup_pending") && log.contains("run `migrate`"), "{log}");
    // What it says helps.
    assert!(world.run(&["migrate"]).await.status.success());
    assert_eq!(world.serve().await.terminate().await, Some(0));
}

#[tokio::test]
async fn a_missing_table_is_named_at_start() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    sqlx::raw_sql("ALTER TABLE analytics.dead_letters RENAME TO moved").execute(&mut owner).await.unwrap();
    let (code, log) = refused(&world).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("tables are missing: analytics.dead_letters"), "{log}");
}

#[tokio::test]
async fn a_start_with_a_wrong_password_ends() {
    let mut world = World::new(1).await;
    let url = world.variables["ANALYTICS__DATABASE__URL"].clone();
    let (login, place) = url.rsplit_once('@').unwrap();
    let (user, _) = login.rsplit_once(':').unwrap();
    world.routes.insert("ANALYTICS__DATABASE__URL".to_owned(), format!("{user}:not-it@{place}"));
    let (code, log) = refused(&world).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("password authentication failed") && !log.contains("not-it"), "{log}");
}

/// A PgBouncer before the world's database, for what is started next.
struct Pooler {
    child: Child,
    folder: PathBuf,
}

impl Pooler {
    async fn start(world: &mut World, mode: &str) -> Self {
        let url = world.variables["ANALYTICS__DATABASE__URL"].clone();
        let (login, place) = url.strip_prefix("postgres://").unwrap().rsplit_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let (server, name) = place.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("{}-pooler", world.settings.broker.stream));
        fs::create_dir_all(&folder).unwrap();
        let (users, config) = (folder.join("users"), folder.join("config"));
        fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        let text = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            address.port(),
            users.display(),
        );
        fs::write(&config, text).unwrap();
        // It does not run as root.
        let root = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap().trim() == "0";
        let as_user = if root { &["-u", "nobody"][..] } else { &[] };
        let child = Command::new(PGBOUNCER)
            .arg("-q")
            .args(as_user)
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the pooler listens", async || TcpStream::connect(address).ok()).await;
        world.routes.insert("ANALYTICS__DATABASE__URL".to_owned(), format!("postgres://{login}@{address}/{name}"));
        Self { child, folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn has_pooler() -> bool {
    let has = fs::exists(PGBOUNCER).unwrap();
    if !has {
        not_run(&format!("{PGBOUNCER} is not there (Debian's package pgbouncer)"));
    }
    has
}

#[tokio::test]
async fn transaction_mode_poolers_are_refused_at_start() {
    if !has_pooler() {
        return;
    }
    let mut world = World::new(1).await;
    let _pooler = Pooler::start(&mut world, "transaction").await;
    let (code, log) = refused(&world).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("connection pooler in transaction mode") && log.contains("session mode"), "{log}");
}

#[tokio::test]
async fn a_pooler_in_session_mode_serves() {
    if !has_pooler() {
        return;
    }
    let mut world = World::new(1).await;
    let _pooler = Pooler::start(&mut world, "session").await;
    let service = Service::start(&world).await;
    world.publish(&["--events", "500", "--rate", "2000"]).await;
    settled(&mut world.connect().await, 500).await;
    assert_eq!(service.terminate().await, Some(0));
}
