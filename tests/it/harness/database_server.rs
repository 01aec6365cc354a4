//! A PostgreSQL server of a test's own, beside the stack's, from the same packages.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use analytics_service::{config::Secret, store};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    World, eventually,
    service::free_address,
    stack::{self, stack},
};

/// Folders as the servers see them.
pub struct DatabaseServer {
    pub address: SocketAddr,
    pub data: String,
    home: Arc<Home>,
}

/// A folder beside the data of the stack's server, for all servers of a test.
struct Home(String);

impl DatabaseServer {
    /// A new server with the roles and the empty database of the stack's. `None` where the stack has not the packages for it:
    /// containers keep their ports to themselves.
    pub async fn empty() -> Option<Self> {
        let home = Home::new()?;
        let data = home.path("data");
        // As the stack does it.
        home.run(
            "initdb --pgdata=\"$DATA\" --username=postgres --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 \
             --auth-local=peer --auth-host=scram-sha-256 --no-sync",
            &[("DATA", &data)],
        )
        .await;
        Some(Self::start(home, data).await)
    }

    /// A copy of the stack's, which follows it. `None` as above.
    pub async fn replica() -> Option<Self> {
        let home = Home::new()?;
        let data = home.path("data");
        // By the socket: no password, as the system user that owns the server.
        home.run("pg_basebackup --write-recovery-conf --checkpoint=fast --pgdata=\"$DATA\"", &[("DATA", &data)]).await;
        Some(Self::start(home, data).await)
    }

    /// A server on another data folder that is beside this one's.
    pub async fn beside(&self, data: &str) -> Self {
        Self::start(Arc::clone(&self.home), self.path(data)).await
    }

    async fn start(home: Arc<Home>, data: String) -> Self {
        let address = free_address();
        let options = format!(
            "-c config_file=/srv/postgresql.conf -c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} \
             -c shared_buffers=128MB",
            address.port(),
            home.0
        );
        let server = Self { address, data, home };
        server
            .run(
                "pg_ctl start --silent --timeout=300 --log=\"$DATA.log\" --options=\"$OPTIONS\"",
                &[("OPTIONS", &options)],
            )
            .await;
        server
    }

    /// A place beside its data.
    pub fn path(&self, name: &str) -> String {
        self.home.path(name)
    }

    /// How the tools of its own machine reach one of its databases, as its superuser.
    pub fn reached_by(&self, database: &str) -> String {
        format!("host={} port={} dbname={database}", self.home.0, self.address.port())
    }

    /// The roles of the stack's server, with their passwords, and the empty database `analytics`.
    pub async fn provision(&self, world: &World) {
        let statements =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/provision.sql"));
        let password = |url: &Secret| {
            let (login, _) = url.expose().rsplit_once('@').unwrap();
            login.rsplit_once(':').unwrap().1.to_owned()
        };
        let database = &world.settings.database;
        let variables = [
            ("OWNER", password(&database.migration_url)),
            ("SERVICE", password(&database.url)),
            ("STATEMENTS", statements.unwrap()),
            ("SERVER", self.reached_by("postgres")),
        ];
        self.run(
            "printf '%s' \"$STATEMENTS\" | psql -qX -v ON_ERROR_STOP=1 -v owner_password=\"$OWNER\" -v service_password=\"$SERVICE\" \"$SERVER\"",
            &variables.each_ref().map(|(name, value)| (*name, value.as_str())),
        )
        .await;
    }

    /// Has what is started next, and the world's own connections, use this database of it.
    pub fn serve(&self, world: &mut World, database: &str) {
        for key in ["ANALYTICS__DATABASE__URL", "ANALYTICS__DATABASE__MIGRATION_URL"] {
            let url = self.url(&world.variables[key]);
            let (server, _) = url.rsplit_once('/').unwrap();
            world.set(key, &format!("{server}/{database}"));
        }
    }

    /// A connection to one of its databases, by the URL of the same one of the stack's server.
    pub async fn connect(&self, url: &Secret) -> PgConnection {
        let url = self.url(url.expose());
        eventually("the server answers", async || {
            store::connect(&Secret::new(url.clone()), Duration::from_secs(5)).await.ok()
        })
        .await
    }

    fn url(&self, url: &str) -> String {
        let (login, place) = url.rsplit_once('@').unwrap();
        let (_, path) = place.split_once('/').unwrap();
        format!("{login}@{}/{path}", self.address)
    }

    /// What a statement gives, by its superuser.
    pub async fn query(&self, statement: &str) -> String {
        let variables = [("SERVER", &*self.reached_by("postgres")), ("STATEMENT", statement)];
        let given = self.run("psql -qtAX -c \"$STATEMENT\" \"$SERVER\"", &variables).await;
        given.trim().to_owned()
    }

    /// Runs commands of a shell on the server's machine, as its system user. DATA is its folder.
    pub async fn run(&self, commands: &str, variables: &[(&str, &str)]) -> String {
        self.home.run(commands, &[&[("DATA", self.data.as_str())], variables].concat()).await
    }

    /// Ends it as a power cut would.
    pub async fn kill(&self) {
        self.run("pg_ctl stop --silent --mode=immediate", &[]).await;
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ =
            stack::run(&["exec", "postgres", "pg_ctl", "stop", "--silent", "--pgdata", &self.data, "--mode=immediate"]);
    }
}

impl Home {
    fn new() -> Option<Arc<Self>> {
        if !stack(&["status"]).contains("way: debian") {
            return None;
        }
        let home = Self(format!("/srv/test-{}", Uuid::new_v4().simple()));
        stack(&["exec", "postgres", "mkdir", &home.0]);
        Some(Arc::new(home))
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    async fn run(&self, commands: &str, variables: &[(&str, &str)]) -> String {
        // The tools' own name for the same folder.
        let data = variables.iter().find(|(name, _)| *name == "DATA").map(|(_, data)| format!("PGDATA={data}"));
        let mut args: Vec<String> = ["exec", "postgres", "env"].map(str::to_owned).into();
        args.extend(variables.iter().map(|(name, value)| format!("{name}={value}")).chain(data));
        args.extend(["sh", "-euc", commands].map(str::to_owned));
        tokio::task::spawn_blocking(move || stack(&args.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let removed = stack::run(&["exec", "postgres", "rm", "-rf", &self.0]);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
