//! What it was measured on.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::World;

pub struct Machine {
    at: DateTime<Utc>,
    commit: String,
    cores: usize,
    memory_gib: u64,
    broker: String,
    database: String,
    load_average: String,
}

impl Machine {
    pub async fn now() -> Self {
        let world = World::new(1).await;
        let database = sqlx::query_scalar(
            "SELECT format('PostgreSQL %s, TimescaleDB %s (%s)', split_part(current_setting('server_version'), ' ', 1), extversion,
                           current_setting('timescaledb.license'))
             FROM pg_extension WHERE extname = 'timescaledb'",
        )
        .fetch_one(&mut world.connect().await)
        .await
        .unwrap();
        let stack = root().join("deploy/local/stack");
        let broker = said(Command::new(stack).args(["exec", "rabbitmq", "rabbitmqctl", "version"]));
        Self {
            at: Utc::now(),
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root())),
            cores: std::thread::available_parallelism().unwrap().get(),
            memory_gib: memory_gib(),
            broker: format!("RabbitMQ {broker}"),
            database,
            load_average: load_average(),
        }
    }

    /// A file of this run's own.
    pub fn file(&self) -> PathBuf {
        root().join("target/bench").join(format!("{}.json", self.at.format("%Y%m%dT%H%M%SZ")))
    }

    pub fn json(&self) -> Value {
        json!({
            "at": self.at, "commit": self.commit, "cores": self.cores, "memoryGiB": self.memory_gib, "broker": self.broker,
            "database": self.database, "loadAverageBefore": self.load_average, "loadAverageAfter": load_average(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, commit, cores, memory_gib, broker, database, load_average } = self;
        write!(
            f,
            "{} UTC, commit {commit}, {cores} cores, {memory_gib} GiB, {broker}, {database}, load average before {load_average}",
            at.format("%F %H:%M")
        )
    }
}

/// Of the last minute, five and fifteen.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn memory_gib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kib + (1 << 19)) >> 20
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command says in one line, if it can be run.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
