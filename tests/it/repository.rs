//! The repository, as `make scan` sees it: clean, or each exception has its reason; and every scan finds a fault that is planted.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    docs::root,
    docs_lists::tables,
    harness::{local_folder, not_run},
};

#[test]
fn the_history_holds_no_secret() {
    assert_clean("gitleaks");
}

#[test]
fn no_file_holds_a_secret_or_an_unsafe_setting() {
    assert_clean("trivy");
}

#[test]
fn dockerfiles_are_well_formed() {
    assert_clean("hadolint");
}

#[test]
fn workflows_are_valid() {
    assert_clean("actionlint");
}

#[test]
fn workflows_are_safe() {
    assert_clean("zizmor");
}

#[test]
fn dependencies_are_what_deny_toml_allows() {
    assert_clean("cargo-deny");
}

#[test]
fn no_dependency_has_an_advisory() {
    assert_clean("advisories");
}

#[test]
fn a_committed_secret_is_found() {
    let folder = planted(&[("settings.env", &format!("TOKEN={}\n", secret()))]);
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "--quiet", "--message", "plant"]);
    // It stays in the history.
    git(folder.path(), &["rm", "--quiet", "settings.env"]);
    git(folder.path(), &["commit", "--quiet", "--message", "remove"]);
    assert_found("gitleaks", &folder, "settings.env");
}

#[test]
fn a_secret_in_a_file_is_found() {
    assert_found("trivy", &planted(&[("settings.env", &format!("TOKEN={}\n", secret()))]), "github-pat");
}

#[test]
fn a_privileged_container_is_found() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: planted\nspec:\n  containers:\n    - name: planted\n      \
        image: planted\n      securityContext:\n        privileged: true\n";
    assert_found("trivy", &planted(&[("pod.yaml", pod)]), "KSV-0017");
}

#[test]
fn an_unpinned_base_is_found() {
    assert_found("hadolint", &planted(&[("Dockerfile", "FROM debian\nRUN cd /tmp\n")]), "DL3006");
}

#[test]
fn an_invalid_workflow_is_found() {
    let workflow = WORKFLOW.replace("steps", "stages");
    assert_found("actionlint", &planted(&[(".github/workflows/ci.yaml", &workflow)]), "\"stages\"");
}

#[test]
fn an_unpinned_action_is_found() {
    assert_found("zizmor", &planted(&[(".github/workflows/ci.yaml", WORKFLOW)]), "unpinned-uses");
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    let manifest = "[package]\nname = \"planted\"\nversion = \"1.0.0\"\nlicense = \"GPL-3.0-only\"\n";
    let lock = "version = 4\n\n[[package]]\nname = \"planted\"\nversion = \"1.0.0\"\n";
    let rules = fs::read_to_string(root().join("deny.toml")).unwrap();
    let files = [("Cargo.toml", manifest), ("Cargo.lock", lock), ("src/lib.rs", ""), ("deny.toml", &rules)];
    assert_found("cargo-deny", &planted(&files), "GPL-3.0-only");
}

/// With a database of our own in the place of the public one, so that this runs where that is out of reach.
#[test]
fn a_dependency_with_an_advisory_is_found() {
    let database = planted(&[("crates/anyhow/RUSTSEC-2026-9999.md", ADVISORY)]);
    git(database.path(), &["init", "--quiet", "--initial-branch", "main"]);
    git(database.path(), &["add", "."]);
    git(database.path(), &["commit", "--quiet", "--message", "plant"]);
    let clones = tempfile::tempdir().unwrap();
    let [rules, manifest, lock] =
        ["deny.toml", "Cargo.toml", "Cargo.lock"].map(|name| fs::read_to_string(root().join(name)).unwrap());
    let rules = rules.replace("[advisories]", &format!("[advisories]\ndb-path = \"{}\"", clones.path().display()));
    // Yanked versions are looked up in the registry.
    let rules = rules.replace("yanked = \"deny\"", "yanked = \"allow\"");
    let mut files = vec![("deny.toml", rules.as_str()), ("Cargo.toml", &manifest), ("Cargo.lock", &lock)];
    // Without them cargo takes the manifest for broken.
    let targets = ["build.rs", "src/lib.rs", "src/main.rs", "benches/ingest/main.rs"];
    files.extend(targets.map(|file| (file, "")));
    let instead = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", &format!("url.file://{}.insteadOf", database.path().display())),
        ("GIT_CONFIG_VALUE_0", "https://github.com/RustSec/advisory-db"),
    ];
    assert_found_with("advisories", &planted(&files), "RUSTSEC-2026-9999", &instead);
}

#[test]
fn every_exception_has_its_reason() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap_or_default();
    let fingerprints = read(".gitleaksignore");
    let lines: Vec<_> = fingerprints.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(':') && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), ".gitleaksignore: {}", pair[1]);
    }
    for line in read("deny.toml").lines().filter(|line| line.contains("RUSTSEC") || line.contains("crate =")) {
        assert!(line.contains("reason = \""), "deny.toml: {line}");
    }
    for entry in read(".trivyignore.yaml").split("- id:").skip(1) {
        assert!(entry.contains("statement: "), ".trivyignore.yaml: {entry}");
    }
}

#[test]
fn the_table_of_scans_is_complete() {
    let script = fs::read_to_string(root().join(".ci/scan")).unwrap();
    let names = script.lines().find_map(|line| line.strip_prefix("names=(")?.strip_suffix(')')).unwrap();
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let listed: Vec<_> = tables(&page, "scan").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(listed.join(" "), names, "CONTRIBUTING.md and .ci/scan");
}

/// The lock alone is installed.
#[test]
fn the_lock_has_every_requirement() {
    let read = |name: &str| fs::read_to_string(root().join("deploy/local").join(name)).unwrap();
    let lock = read("test-requirements-lock.txt");
    let entries: Vec<_> = lock.lines().filter_map(|line| line.strip_suffix(" \\")?.split(' ').next()).collect();
    for requirement in read("test-requirements.txt").lines().filter(|line| !line.starts_with('#')) {
        assert!(entries.contains(&requirement), "{requirement} is not in test-requirements-lock.txt");
    }
}

#[test]
fn a_release_needs_its_version_and_its_notes() {
    let manifest = "[package]\nname = \"planted\"\nversion = \"1.2.0\"\n";
    let changes = "# Changelog\n\n## Unreleased\n\n- next\n\n## 1.2.0 - 2026-12-01\n\n- this\n\n## 1.1.0 - 2026-11-01\n\n- last\n";
    let folder = planted(&[("Cargo.toml", manifest), ("CHANGELOG.md", changes)]);
    let notes = |version: &str| command("release-notes", &[version], folder.path(), &[]);
    assert_eq!(said(&notes("1.2.0")).trim(), "- this");
    for version in ["1.1.0", "1.2", "1.3.0"] {
        assert!(!notes(version).status.success(), "{version}");
    }
    fs::write(folder.path().join("CHANGELOG.md"), "## Unreleased\n\n- next\n").unwrap();
    assert!(!notes("1.2.0").status.success(), "without a section");
}

const WORKFLOW: &str = "on: push\npermissions: {}\njobs:\n  planted:\n    runs-on: ubuntu-24.04\n    steps:\n      \
    - uses: actions/checkout@v4\n";

const ADVISORY: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2026-9999\"\npackage = \"anyhow\"\ndate = \"2026-01-01\"\n\n\
    [versions]\npatched = []\n```\n\n# Planted\n\nPlanted.\n";

/// In the form of a token of GitHub, which this file itself must not hold.
fn secret() -> String {
    format!("{}_{}abcd", "ghp", uuid::Uuid::new_v4().simple())
}

fn planted(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
    let status = Command::new("git").current_dir(folder).args(identity).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn command(name: &str, arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(root().join(".ci").join(name));
    command.args(arguments).current_dir(folder).env("ANALYTICS_LOCAL_DIR", local_folder());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat()
}

/// The exit code and what was said, or nothing where the scan was not run, which is said.
fn scan(name: &str, folder: &Path, variables: &[(&str, &str)]) -> Option<(i32, String)> {
    let output = command("scan", &[name], folder, variables);
    let said = said(&output);
    let code = output.status.code().unwrap();
    if code == 2 {
        let reason = said.lines().find(|line| line.starts_with("NOT RUN: ")).unwrap_or_else(|| panic!("{said}"));
        not_run(reason.trim_start_matches("NOT RUN: "));
        return None;
    }
    Some((code, said))
}

fn assert_clean(name: &str) {
    if let Some((code, said)) = scan(name, root(), &[]) {
        assert!(code == 0 && said.contains(&format!("{name}: clean")), "{said}");
    }
}

fn assert_found(name: &str, folder: &TempDir, fault: &str) {
    assert_found_with(name, folder, fault, &[]);
}

fn assert_found_with(name: &str, folder: &TempDir, fault: &str, variables: &[(&str, &str)]) {
    if let Some((code, said)) = scan(name, folder.path(), variables) {
        assert!(code == 1 && said.contains(fault), "{fault} is not found: exit code {code}\n{said}");
    }
}
