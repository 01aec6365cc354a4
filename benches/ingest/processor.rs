//! Processor time, as Linux counts it: `/proc/PID/stat`, in hundredths of a second.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use sqlx::PgConnection;

use crate::harness::local_folder;

/// Ticks of a second: `sysconf(_SC_CLK_TCK)` is 100 on every Linux that this runs on.
const TICKS: f64 = 100.0;
/// A server that takes less than this share of a core has nothing to do.
const QUIET: f64 = 0.08;
const LOOK_EVERY: Duration = Duration::from_millis(500);
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// Numbers of a process behind its name, which may hold anything: proc_pid_stat(5), from field 3 on.
fn fields(pid: u32) -> Option<Vec<f64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
}

/// Seconds of a process, of all its threads.
pub fn of_process(pid: u32) -> f64 {
    fields(pid).map_or(0.0, |fields| (fields[11] + fields[12]) / TICKS)
}

/// Seconds of a process and of all that it started, those that have ended among them.
fn of_tree(pid: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let living = children.split_whitespace().filter_map(|child| child.parse().ok()).map(of_tree).sum::<f64>();
    fields(pid).map_or(0.0, |fields| fields[11..15].iter().sum::<f64>() / TICKS) + living
}

/// Seconds that all cores have worked, the whole machine.
pub fn of_machine() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap()).collect();
    // All but idle and waiting for disks; those of guests are counted twice.
    (ticks[..8].iter().sum::<f64>() - ticks[3] - ticks[4]) / TICKS
}

/// The stack's servers, where they are processes of this machine: in the way debian.
pub struct Servers {
    broker: Option<u32>,
    database: Option<u32>,
}

/// Seconds that each has used up to a moment.
#[derive(Clone, Copy)]
pub struct Used {
    pub broker: f64,
    pub database: f64,
}

impl Servers {
    pub fn find() -> Self {
        let pid = |server: &str| {
            let text = fs::read_to_string(local_folder().join("run").join(server).with_extension("pid")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        Self { broker: pid("rabbitmq"), database: pid("postgres") }
    }

    pub fn are_known(&self) -> bool {
        self.broker.is_some() && self.database.is_some()
    }

    pub fn used(&self) -> Used {
        let of = |server: Option<u32>| server.map_or(f64::NAN, of_tree);
        Used { broker: of(self.broker), database: of(self.database) }
    }

    /// Waits until neither has work of its own left: behind what was published, or dropped.
    pub async fn quiet(&self) {
        if !self.are_known() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return;
        }
        let deadline = Instant::now() + QUIET_WITHIN;
        let (mut before, mut since) = (self.used(), Instant::now());
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            let (now, elapsed) = (self.used(), since.elapsed().as_secs_f64());
            if (now.broker - before.broker).max(now.database - before.database) < QUIET * elapsed {
                return;
            }
            (before, since) = (now, Instant::now());
        }
        println!("    the servers are still at work after {} s of waiting", QUIET_WITHIN.as_secs());
    }
}

/// Which of the service's connections write events, and which merge, by what they have locked.
#[derive(Default)]
pub struct Backends {
    writers: BTreeSet<u32>,
    mergers: BTreeSet<u32>,
}

impl Backends {
    pub async fn look(&mut self, conn: &mut PgConnection) {
        let locked: Vec<(i32, bool)> = sqlx::query_as(
            "SELECT DISTINCT pid, relation = 'analytics.usage_events'::regclass FROM pg_locks
             WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND mode = 'RowExclusiveLock'
               AND relation IN ('analytics.usage_events'::regclass, 'analytics.hourly_rollups'::regclass)",
        )
        .fetch_all(conn)
        .await
        .unwrap();
        for (pid, writes) in locked {
            let kind = if writes { &mut self.writers } else { &mut self.mergers };
            kind.insert(pid.unsigned_abs());
        }
    }

    /// Seconds of those that write, and of those that merge.
    pub fn used(&self) -> (f64, f64) {
        let of = |pids: &BTreeSet<u32>| pids.iter().copied().map(of_process).sum();
        (of(&self.writers), of(&self.mergers))
    }
}

/// A thread that takes a core.
pub struct BusyCore {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl BusyCore {
    pub fn start() -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self { stop }
    }
}

impl Drop for BusyCore {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
