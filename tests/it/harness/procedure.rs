//! Procedures of the documentation, carried out by the commands that stand there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use super::{World, local_folder};

/// Tools of the servers, which the local stack runs on their machines.
const TOOLS: [(&str, &str); 6] = [
    ("psql", "postgres"),
    ("pg_dump", "postgres"),
    ("pg_dumpall", "postgres"),
    ("pg_restore", "postgres"),
    ("rabbitmqctl", "rabbitmq"),
    ("redis-cli", "redis"),
];

/// The commands under a heading of docs/backup.md: those of its block of that number, from 1.
///
/// # Panics
/// There are none.
pub fn commands(heading: &str, block: usize) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/backup.md")).unwrap();
    let blocks = blocks(&page, heading);
    let count = blocks.len();
    blocks.into_iter().nth(block - 1).unwrap_or_else(|| panic!("{heading}: {count} blocks of commands"))
}

/// Indented lines that follow each other, without the indentation.
fn blocks(page: &str, heading: &str) -> Vec<String> {
    let section =
        page.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'));
    let mut blocks = vec![String::new()];
    for line in section.skip(1).take_while(|line| !line.starts_with('#')) {
        let last = blocks.last_mut().unwrap();
        if let Some(command) = line.strip_prefix("    ") {
            last.push_str(command);
            last.push('\n');
        } else if !last.is_empty() {
            blocks.push(String::new());
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// A folder in which an operator carries procedures out.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/stack");
        for (tool, server) in TOOLS {
            let script = format!("#!/bin/sh\nexec '{}' exec {server} {tool} \"$@\"\n", stack.display());
            fs::write(tools.join(tool), script).unwrap();
            fs::set_permissions(tools.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Where it is not there, the test is not run.
        symlink(local_folder().join("rclone/rclone"), tools.join("rclone")).unwrap();
        symlink(env!("CARGO_BIN_EXE_analytics-service"), tools.join("analytics-service")).unwrap();
        Self(folder)
    }

    /// Runs a procedure's commands with the settings of a world, and gives what they print.
    ///
    /// # Panics
    /// One of them fails.
    pub async fn carry_out(&self, world: &World, commands: &str, variables: &[(&str, &str)]) -> String {
        let tools = self.0.path().join("tools");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", commands]).current_dir(self.0.path());
        shell.envs(&world.variables).envs(variables.iter().copied()).env("PATH", path);
        // rclone cannot use authorities that another program on this machine is given.
        shell.env_remove("AWS_CA_BUNDLE").stdin(std::process::Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{commands}\n{}\n{stdout}{stderr}", output.status);
        eprintln!("{stderr}");
        stdout
    }
}

#[test]
fn blocks_of_a_section_are_separate() {
    let page = "# A\n\n    a\n\n## B\n\nFirst:\n\n    b \\\n      more\n    c\n\nThen:\n\n    d\n## C\n    e\n";
    assert_eq!(blocks(page, "B"), ["b \\\n  more\nc\n", "d\n"]);
    assert_eq!(blocks(page, "A"), ["a\n"]);
    assert!(blocks(page, "D").is_empty());
}
