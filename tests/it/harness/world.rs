//! The database and the streams of one test.

use std::{
    collections::BTreeMap,
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use analytics_service::{
    broker::{
        self,
        incoming::StartAt,
        publisher::{Outgoing, PublishError, Publisher},
        streams::Streams,
        subscription::Subscription,
        topology,
    },
    config::{self, Secret, Settings},
    domain::partition::Topology,
    store,
};
use chrono::{DurationRound as _, TimeDelta, Utc};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{
    Proxy, Service,
    cache::{self, CacheDatabase},
    facts::contradictions,
    load::millis,
    stack::{self, Turn},
};

/// How long a test's own connection may take to open: a busy server is no fault.
const CONNECT_MS: u64 = 60_000;
pub(super) const CONNECT: Duration = Duration::from_millis(CONNECT_MS);

const READ_BY_STREAM: &str = "ANALYTICS__BROKER__STREAM_URL";

/// One a test: who held two would wait for ever for the second when an exclusive one waits for the first.
pub struct World {
    /// The program that is run: this build's.
    pub binary: PathBuf,
    /// What the service of this world is started with, as variables.
    pub variables: BTreeMap<String, String>,
    pub settings: Settings,
    /// What `serve` is started with in place of the above: ways to the servers that lead through a proxy.
    pub routes: BTreeMap<String, String>,
    /// Where the streams are, whatever the settings were changed to. For the test's own connections.
    pub broker: config::Broker,
    /// The same for the stream protocol.
    pub(super) stream_url: String,
    database: String,
    /// Further databases that end with it, of the same server.
    pub databases: Vec<String>,
    /// The server's first database, from where this world's is dropped.
    admin_url: Secret,
    /// Why what the database holds at the end proves nothing.
    unchecked: Option<&'static str>,
    _cache: CacheDatabase,
    /// Given back last, when all is cleaned up.
    _turn: Turn,
}

impl World {
    /// A migrated database, stream names and a Redis database that nobody else has.
    pub async fn new(partitions: u16) -> Self {
        let world = Self::without_schema(partitions).await;
        world.migrate().await;
        world
    }

    /// The same with an empty database.
    pub async fn without_schema(partitions: u16) -> Self {
        let mut world = Self::make(partitions, stack::beside_others().await).await;
        // Beside others the servers are busy: what a test asks is answered late rather than refused.
        for server in ["DATABASE", "BROKER"] {
            world.set(&format!("ANALYTICS__{server}__CONNECT_TIMEOUT_MS"), "20000");
        }
        world.set("ANALYTICS__QUERY__WAIT_MS", "10000");
        world.set("ANALYTICS__QUERY__STATEMENT_TIMEOUT_MS", "60000");
        world.set("ANALYTICS__INGEST__TIMEOUT_MS", "30000");
        world
    }

    /// A world without any other of this process beside it, for tests that stop servers.
    pub async fn exclusive(partitions: u16) -> Self {
        let world = Self::make(partitions, stack::alone().await).await;
        world.migrate().await;
        world
    }

    async fn migrate(&self) {
        let mut owner = self.connect_as_owner().await;
        let role = store::user_of(&self.settings.database.url).unwrap();
        store::schema::up(&mut owner, &role).await.unwrap();
    }

    async fn make(partitions: u16, turn: Turn) -> Self {
        let mut variables = stack_variables();
        let stream_url = variables.remove(READ_BY_STREAM).unwrap_or_default();
        let name = format!("it_{}", Uuid::new_v4().simple());
        let admin_url = Secret::new(variables["ANALYTICS__DATABASE__MIGRATION_URL"].clone());
        let mut admin = store::connect(&admin_url, CONNECT).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        for key in ["ANALYTICS__DATABASE__URL", "ANALYTICS__DATABASE__MIGRATION_URL"] {
            let url = variables[key].clone();
            let (server, _) = url.rsplit_once('/').unwrap();
            variables.insert(key.to_owned(), format!("{server}/{name}"));
        }
        let cache = CacheDatabase::take(&variables["ANALYTICS__CACHE__URL"], &local_folder()).await;
        variables.insert("ANALYTICS__CACHE__URL".to_owned(), cache.url.clone());
        variables.insert("ANALYTICS__BROKER__STREAM".to_owned(), name.replace('_', "."));
        variables.insert("ANALYTICS__BROKER__PARTITIONS".to_owned(), partitions.to_string());
        // Tests ask as fast as they can.
        for what in ["ORG", "CREDENTIAL"] {
            variables.insert(format!("ANALYTICS__RATE_LIMIT__{what}_PER_SECOND"), "0".to_owned());
        }
        // No load balancer has to notice that a process ends.
        variables.insert("ANALYTICS__DRAIN__ANNOUNCE_MS".to_owned(), "0".to_owned());
        // Exports are for tests that give them a store.
        variables.insert("ANALYTICS__OBJECTS__ALLOW_UNENCRYPTED".to_owned(), "false".to_owned());
        // Nothing happens that a test has not requested.
        variables.insert("ANALYTICS__MAINTENANCE__ENABLED".to_owned(), "false".to_owned());
        // A stream that many tests make must not keep a large segment file.
        variables.insert("ANALYTICS__BROKER__STREAM_MAX_BYTES".to_owned(), "1000000000".to_owned());
        let settings = settings_of(&variables);
        let mut broker = settings.broker.clone();
        broker.connect_timeout_ms = CONNECT_MS;
        let routes = BTreeMap::new();
        avoid_turn_of_clock().await;
        Self {
            binary: env!("CARGO_BIN_EXE_analytics-service").into(),
            variables,
            settings,
            routes,
            broker,
            stream_url,
            database: name,
            databases: Vec::new(),
            admin_url,
            unchecked: None,
            _cache: cache,
            _turn: turn,
        }
    }

    /// For a test that leaves behind what must not be: puts rows in by itself, deletes some, or keeps another schema. Without
    /// it, [`contradictions`] at the end fail the test.
    pub fn unchecked(mut self, why: &'static str) -> Self {
        self.unchecked = Some(why);
        self
    }

    /// Changes several, which make sense only together.
    pub fn set_all(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.variables.extend(variables);
        self.settings = settings_of(&self.variables);
    }

    /// Changes a setting of what is started next.
    pub fn set(&mut self, key: &str, value: &str) {
        self.variables.insert(key.to_owned(), value.to_owned());
        self.settings = settings_of(&self.variables);
    }

    /// Leads the service that is started next to the broker through a proxy, by the protocol that it reads by. The world's own
    /// connections and other commands, `publish` among them, go on directly.
    pub fn proxy_broker(&mut self) -> Proxy {
        self.proxy(self.reads_from())
    }

    /// The variable of the URL that streams are read from.
    pub fn reads_from(&self) -> &'static str {
        let by_stream_protocol = self.variables.get(READ_BY_STREAM).is_some_and(|url| !url.is_empty());
        if by_stream_protocol { READ_BY_STREAM } else { "ANALYTICS__BROKER__URL" }
    }

    /// The same to the database.
    pub fn proxy_database(&mut self) -> Proxy {
        self.proxy("ANALYTICS__DATABASE__URL")
    }

    /// The same to Redis.
    pub fn proxy_cache(&mut self) -> Proxy {
        self.proxy("ANALYTICS__CACHE__URL")
    }

    fn proxy(&mut self, key: &str) -> Proxy {
        let url = &self.variables[key];
        let (login, place) = url.rsplit_once('@').unwrap();
        let (address, path) = place.split_once('/').unwrap();
        let proxy = Proxy::start(address.to_socket_addrs().unwrap().next().unwrap());
        self.routes.insert(key.to_owned(), format!("{login}@{}/{path}", proxy.address));
        proxy
    }

    /// The name of its own database, whatever the settings were changed to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// As the service connects, but with more time to open it.
    pub async fn connect(&self) -> PgConnection {
        let mut database = self.settings.database.clone();
        database.connect_timeout_ms = CONNECT_MS;
        store::connect_writer(&database).await.unwrap()
    }

    /// What changed final hours so far is forgotten. On a busy machine messages that were sent together are more than one batch, and the
    /// later ones change hours that are final by the first.
    pub async fn forget_revisions(&self) {
        let mut owner = self.connect_as_owner().await;
        sqlx::query("DELETE FROM analytics.rollup_revisions").execute(&mut owner).await.unwrap();
    }

    pub async fn connect_as_owner(&self) -> PgConnection {
        store::connect(&self.settings.database.migration_url, CONNECT).await.unwrap()
    }

    /// A connection to this world's own Redis database.
    pub async fn connect_cache(&self) -> redis::aio::MultiplexedConnection {
        cache::connect(&self.variables["ANALYTICS__CACHE__URL"]).await
    }

    pub async fn serve(&self) -> Service {
        Service::start(self).await
    }

    /// A command of the service's binary.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).envs(&self.variables);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Output {
        output_of(self.command(args)).await
    }

    /// Runs a command that has to succeed, and gives what it reports of itself.
    pub async fn report(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(&[args, &["--json"]].concat()).await;
        let said = [&output.stderr[..], &output.stdout[..]].map(String::from_utf8_lossy);
        assert!(output.status.success(), "{args:?}: {said:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts a command and kills it after a random time, in milliseconds.
    pub async fn kill(&self, args: &[&str], after: std::ops::Range<u64>) {
        let mut child = self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        millis(after).await;
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Publishes by the service's own command and gives its report.
    pub async fn publish(&self, args: &[&str]) -> serde_json::Value {
        self.report(&[&["publish"], args].concat()).await
    }

    /// Publishes messages as they are, to partition 0.
    pub async fn send(&self, bodies: impl IntoIterator<Item = Vec<u8>>) {
        let bodies: Vec<Vec<u8>> = bodies.into_iter().collect();
        for _ in 0..2 {
            match self.try_send(&bodies).await {
                Ok(()) => return,
                // RabbitMQ 4.0.5 ends the channel of the first message for a stream that was declared a moment ago, whose
                // writer it does not know yet (osiris_writer:write(none, …)): nothing of it was taken.
                Err(error) if error.confirmed == 0 && self.in_streams().await == 0 => {
                    eprintln!("published again: {}", error.source);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.try_send(&bodies).await.unwrap();
    }

    async fn try_send(&self, bodies: &[Vec<u8>]) -> Result<(), PublishError> {
        let broker = &self.broker;
        let connection = broker::connect(broker, "tests").await.unwrap();
        topology::declare(&connection, broker).await.unwrap();
        let mut publisher = Publisher::open(&connection, broker).await.unwrap();
        for body in bodies {
            publisher.publish(Outgoing { partition: 0, body: body.clone().into(), span: None }).await?;
        }
        publisher.flush().await?;
        broker::close(&connection, broker).await;
        Ok(())
    }

    /// Messages that the streams of all partitions hold.
    pub async fn in_streams(&self) -> i64 {
        let mut messages = 0;
        for partition in 0..self.broker.partitions {
            let streams = Streams::new(&self.broker);
            let opening = streams.opening(partition, StartAt::Last);
            let subscription = Subscription::open(&streams, opening).await.unwrap();
            messages += subscription.last().await.unwrap().map_or(0, |last| last + 1);
            subscription.close().await;
        }
        messages
    }

    /// What the test leaves behind that must not be. By the owner of this world's own database, whatever the settings were changed to.
    async fn contradictions(&self) -> Vec<String> {
        let (server, _) = self.admin_url.expose().rsplit_once('/').unwrap();
        let url = Secret::new(format!("{server}/{}", self.database));
        let mut conn = store::connect(&url, CONNECT).await.unwrap();
        contradictions(&mut conn).await
    }

    async fn clean(&self) {
        let broker = &self.broker;
        if let Ok(connection) = broker::connect(broker, "tests").await {
            let topologies = [1, self.settings.broker.partitions.max(broker.partitions)]
                .map(|partitions| Topology { base: broker.stream.clone(), partitions });
            for stream in topologies.iter().flat_map(Topology::streams) {
                if let Ok(channel) = connection.create_channel().await {
                    let _ = channel.queue_delete(stream.into(), QueueDeleteOptions::default()).await;
                }
            }
            if let Ok(channel) = connection.create_channel().await {
                let _ = channel.exchange_delete(broker.stream.as_str().into(), ExchangeDeleteOptions::default()).await;
            }
            broker::close(&connection, broker).await;
        }
        if let Ok(mut admin) = store::connect(&self.admin_url, CONNECT).await {
            for database in self.databases.iter().chain([&self.database]) {
                let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
                let _ = sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await;
            }
            let _ = admin.close().await;
        }
    }
}

impl Drop for World {
    /// On a thread of its own, since a test's runtime cannot be waited on from within.
    fn drop(&mut self) {
        let check = self.unchecked.is_none() && !std::thread::panicking();
        let found = std::thread::scope(|scope| {
            let end = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let found = if check { self.contradictions().await } else { Vec::new() };
                    self.clean().await;
                    found
                })
            });
            end.join().unwrap()
        });
        assert!(found.is_empty(), "left behind: {found:#?}");
    }
}

/// Waits while an hour or a day is about to end: a test and the service read the clock several times, and would disagree about the hour,
/// the day or the month.
async fn avoid_turn_of_clock() {
    for (unit, last) in [(TimeDelta::days(1), TimeDelta::minutes(3)), (TimeDelta::hours(1), TimeDelta::minutes(1))] {
        let now = Utc::now();
        let left = (now + unit).duration_trunc(unit).unwrap() - now;
        if left < last {
            eprintln!("waiting for the turn of the clock: {left}");
            tokio::time::sleep(left.to_std().unwrap() + Duration::from_secs(1)).await;
        }
    }
}

/// Runs a command to its end, without keeping the test's thread.
pub async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// The addresses of the stack, from the file that `make stack` writes.
pub fn stack_variables() -> BTreeMap<String, String> {
    let file = local_folder().join("stack.env");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; start the servers by `make stack`", file.display()));
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// Where the stack keeps its files, and `make test` what only tests need.
pub fn local_folder() -> PathBuf {
    std::env::var("ANALYTICS_LOCAL_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join(".local"), PathBuf::from)
}

fn settings_of(variables: &BTreeMap<String, String>) -> Settings {
    Settings::from_variables(variables.clone().into_iter().collect()).unwrap()
}
