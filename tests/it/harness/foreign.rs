//! Producers that are not ours: real clients of the stream protocol and of AMQP 1.0, by a Python script.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{World, local_folder, not_run};

/// The interpreter with the client libraries, if `make test` could install them.
fn python() -> Option<PathBuf> {
    let python = local_folder().join("tools/bin/python");
    let has = |module: &str| {
        let import = Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    ["rstream", "proton"].into_iter().all(has).then_some(python)
}

/// Whether foreign clients are there; says that the test is not run without them.
pub fn has_foreign_clients() -> bool {
    let has = python().is_some();
    if !has {
        not_run("rstream and python-qpid-proton are not there (make test installs them)");
    }
    has
}

impl World {
    /// Publishes as a foreign client to one of the world's streams; see tests/it/unread/produce.py for the modes.
    pub async fn produce(&self, mode: &str, partition: u16, bodies: &[&str]) {
        let url = self.variables["ANALYTICS__BROKER__URL"].clone();
        let (login, place) = url.strip_prefix("amqp://").unwrap().split_once('@').unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/unread/produce.py");
        let mut command = Command::new(python().unwrap());
        command
            .arg(script)
            .args([mode, &self.settings.broker.topology().stream_of(partition)])
            .envs(&self.variables)
            .env("BROKER_PASSWORD", login.split_once(':').unwrap().1)
            .env("BROKER_ADDRESS", place.split_once('/').unwrap().0)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let input = bodies.iter().map(|body| format!("{body}\n")).collect::<String>();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let output = output.await.unwrap();
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
