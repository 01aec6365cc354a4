//! What the system says of the process, under the names that all client libraries use. It is read on each scrape, from `/proc` and
//! the control group: no server is asked. What cannot be read has no series.

use std::{
    fmt, fs,
    path::{Component, Path, PathBuf},
};

use procfs::process::{LimitValue, Process as OfSystem};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::Declared;

pub const DECLARED: &[Declared] = &[
    gauge("process_resident_memory_bytes"),
    gauge("process_virtual_memory_bytes"),
    gauge("process_memory_limit_bytes"),
    Declared { name: "process_cpu_seconds_total", kind: "counter", labels: &[] },
    gauge("process_open_fds"),
    gauge("process_max_fds"),
    gauge("process_threads"),
    gauge("process_start_time_seconds"),
];

const fn gauge(name: &'static str) -> Declared {
    Declared { name, kind: "gauge", labels: &[] }
}

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Control groups of version 1 say so much, less a page, where there is no limit.
const NO_LIMIT: u64 = 1 << 62;

/// Reads what the system says.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(process) = OfSystem::myself() else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, unit.as_ref(), value.metric_type())?)
        };
        let stat = process.stat().ok();
        let ticks = procfs::ticks_per_second() as f64;
        let resident = stat.as_ref().map(|stat| (stat.rss * procfs::page_size()) as f64);
        gauge("process_resident_memory", "Memory of the process that is in RAM.", Some(Unit::Bytes), resident)?;
        let size = stat.as_ref().map(|stat| stat.vsize as f64);
        gauge("process_virtual_memory", "Address space of the process.", Some(Unit::Bytes), size)?;
        let limit = memory_limit().map(|limit| limit as f64);
        let help = "Memory that the process's control group may use; absent without a limit.";
        gauge("process_memory_limit", help, Some(Unit::Bytes), limit)?;
        let open = process.fd_count().ok().map(|count| count as f64);
        gauge("process_open_fds", "Open file descriptors.", None, open)?;
        let most = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        });
        gauge("process_max_fds", "File descriptors that may be open.", None, most)?;
        let threads = stat.as_ref().map(|stat| stat.num_threads as f64);
        gauge("process_threads", "Threads of the process.", None, threads)?;
        let started = stat.as_ref().zip(procfs::boot_time_secs().ok());
        let started = started.map(|(stat, booted)| booted as f64 + stat.starttime as f64 / ticks);
        gauge("process_start_time", "When the process started, Unix time.", Some(Unit::Seconds), started)?;
        if let Some(stat) = stat {
            let seconds = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks);
            let help = "Processor time that the process has used.";
            let unit = Unit::Seconds;
            seconds.encode(encoder.encode_descriptor("process_cpu", help, Some(&unit), seconds.metric_type())?)?;
        }
        Ok(())
    }
}

/// The lowest limit of the process's control group and those around it; none: there is no limit.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().flat_map(|group| files(group, Path::new(CGROUPS)));
    limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).filter(|limit| *limit < NO_LIMIT).min()
}

/// The files with the limits of a line of `/proc/self/cgroup`: of the group itself, and of each around it.
fn files(group: &str, mounted: &Path) -> Vec<PathBuf> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => (mounted.to_owned(), "memory.max"),
        named if named.split(',').any(|one| one == "memory") => (mounted.join("memory"), "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    // Seen from a container, the path may lead out of what is mounted: what there is then is the container's own.
    let inside = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut folder = root;
    let mut found = vec![folder.join(file)];
    for name in inside {
        folder.push(name);
        found.push(folder.join(file));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Format, Metrics},
        *,
    };

    #[test]
    fn the_process_is_described() {
        let text = Metrics::default().encode(Format::Prometheus).unwrap();
        for Declared { name, kind, .. } in DECLARED.iter().filter(|one| one.name != "process_memory_limit_bytes") {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))?.parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name} in {text}");
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name} in {text}");
        }
    }

    #[test]
    fn limits_are_read_of_all_groups_around() {
        let files =
            |group| files(group, Path::new("/c")).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(files("0::/"), ["/c/memory.max"]);
        assert_eq!(files("0::/a/b"), ["/c/memory.max", "/c/a/memory.max", "/c/a/b/memory.max"]);
        assert_eq!(files("0::/../other"), ["/c/memory.max", "/c/other/memory.max"]);
        assert_eq!(
            files("4:cpu,memory:/docker/x"),
            [
                "/c/memory/memory.limit_in_bytes",
                "/c/memory/docker/memory.limit_in_bytes",
                "/c/memory/docker/x/memory.limit_in_bytes"
            ]
        );
        assert!(files("3:cpu:/x").is_empty() && files("x").is_empty());
    }
}
