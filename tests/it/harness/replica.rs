//! A second PostgreSQL server: an asynchronous replica of the stack's, which can be cut off and promoted.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use analytics_service::{config::Secret, store};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{eventually, service::free_address, stack};

pub struct Replica {
    pub address: SocketAddr,
    /// Its folder, as the servers see it.
    folder: String,
    child: Child,
}

impl Replica {
    /// Copies the stack's server and starts the copy. `None` where the stack has not the packages for it: containers keep
    /// their ports to themselves.
    pub async fn start() -> Option<Self> {
        if !stack(&["status"]).contains("way: debian") {
            return None;
        }
        let folder = format!("/srv/replica-{}", Uuid::new_v4().simple());
        let copied = folder.clone();
        // By the socket: no password, as the system user that owns the server.
        tokio::task::spawn_blocking(move || {
            let place = format!("--pgdata={copied}");
            stack(&["exec", "postgres", "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", &place])
        })
        .await
        .unwrap();
        let address = free_address();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/stack");
        let log = if std::env::var_os("IT_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
        let child = Command::new(script)
            .args(["exec", "postgres", "postgres", "-D", &folder, "-c", "config_file=/srv/postgresql.conf"])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", address.port())])
            .args(["-c", &format!("unix_socket_directories={folder}"), "-c", "shared_buffers=128MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Some(Self { address, folder, child })
    }

    /// A connection to a database of the replica, by the URL of the same one of the stack's server.
    pub async fn connect(&self, url: &Secret) -> PgConnection {
        let url = self.url(url.expose());
        eventually("the replica answers", async || {
            store::connect(&Secret::new(url.clone()), std::time::Duration::from_secs(5)).await.ok()
        })
        .await
    }

    fn url(&self, url: &str) -> String {
        let (login, place) = url.rsplit_once('@').unwrap();
        let (_, path) = place.split_once('/').unwrap();
        format!("{login}@{}/{path}", self.address)
    }

    /// Lets nothing more come from the primary.
    pub async fn cut_off(&self) {
        self.administer("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.administer("SELECT pg_reload_conf()").await;
        eventually("nothing comes any more", async || {
            (self.administer("SELECT count(*) FROM pg_stat_wal_receiver").await.trim() == "0").then_some(())
        })
        .await;
    }

    /// Makes it a primary, with what it has.
    pub async fn promote(&self) {
        assert_eq!(self.administer("SELECT pg_promote()").await.trim(), "t");
    }

    async fn administer(&self, statement: &str) -> String {
        let (folder, port, statement) = (self.folder.clone(), self.address.port().to_string(), statement.to_owned());
        tokio::task::spawn_blocking(move || {
            stack(&[
                "exec", "postgres", "psql", "-qtAX", "-h", &folder, "-p", &port, "-d", "postgres", "-c", &statement,
            ])
        })
        .await
        .unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let ended = std::panic::catch_unwind(|| {
            stack(&["exec", "postgres", "pg_ctl", "stop", "-D", &self.folder, "-m", "immediate"]);
            stack(&["exec", "postgres", "rm", "-rf", &self.folder]);
        });
        let _ = self.child.wait();
        if ended.is_err() && !std::thread::panicking() {
            panic!("{} was not removed", self.folder);
        }
    }
}
