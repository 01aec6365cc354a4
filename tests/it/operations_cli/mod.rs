//! What operators do at the command line to a running service: look, restart, read again.

mod read_again;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use analytics_service::auth::Role;
use serde_json::Value;

use crate::harness::{Proxy, Service, World, eventually, output_of};

/// What a command did: exit code, standard output, standard error.
type Done = (Option<i32>, String, String);

/// Runs a command as ann, with the service's own address and what else is given.
async fn run_with(world: &World, service: Option<&Service>, variables: &[(&str, &str)], args: &[&str]) -> Done {
    let mut command = world.command(args);
    command.env("USER", "ann").env_remove("ANALYTICS_TOKEN").envs(variables.iter().copied());
    if let Some(service) = service {
        // As in a container: what listens everywhere is asked on the loopback interface.
        command.env("ANALYTICS__OPS__ADDRESS", format!("0.0.0.0:{}", service.ops.port()));
    }
    let Output { status, stdout, stderr } = output_of(command).await;
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

async fn run(world: &World, service: &Service, args: &[&str]) -> Done {
    run_with(world, Some(service), &[], args).await
}

/// Runs a command that has to succeed and print JSON.
async fn answer(world: &World, service: &Service, args: &[&str]) -> Value {
    let (code, out, error) = run(world, service, args).await;
    assert_eq!(code, Some(0), "{args:?}: {error}");
    serde_json::from_str(&out).unwrap()
}

/// Waits until partition 0 runs in that generation, or a later one.
async fn until_running(world: &World, service: &Service, generation: u64) {
    eventually("the partition runs", async || {
        let tree = answer(world, service, &["actors", "list", "--json"]).await;
        let actors = tree["actors"].as_array().unwrap();
        let partition = actors.iter().find(|actor| actor["name"] == "partition/0")?;
        (partition["state"] == "running" && partition["generation"].as_u64()? >= generation).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operators_restart_is_in_the_log() {
    let world = World::new(1).await;
    let service = world.serve().await;
    until_running(&world, &service, 1).await;
    let (code, tree, error) = run(&world, &service, &["actors", "list"]).await;
    assert_eq!(code, Some(0), "{error}");
    let has = |name: &str| tree.lines().any(|line| line.starts_with(name) && line.contains("running"));
    assert!(["lease", "query/1", "partition/0", "  consumer/0", "  writer/0"].into_iter().all(has), "{tree}");

    let restarted = run(&world, &service, &["actors", "restart", "writer/0"]).await;
    assert_eq!(
        (restarted.0, restarted.1.as_str()),
        (Some(0), "writer/0: the restart is requested\n"),
        "{}",
        restarted.2
    );
    until_running(&world, &service, 2).await;
    let log = eventually("the log has it", async || {
        let (code, log, error) = run(&world, &service, &["actors", "log"]).await;
        assert_eq!(code, Some(0), "{error}");
        log.contains("restarted").then_some(log)
    })
    .await;
    let at = |words: &[&str]| log.lines().position(|line| words.iter().all(|word| line.contains(word)));
    let requested = at(&["writer/0", "restart_requested", "generation 1", "by command-line/ann"]);
    assert!(requested.is_some() && requested < at(&["partition/0", "restarted", "generation 2"]), "{log}");

    let page = eventually("the database has it", async || {
        let args = ["actors", "log", "--json", "--limit", "1", "--actor", "partition/0"];
        let page = answer(&world, &service, &args).await;
        (page["source"] == "database" && page["events"][0]["what"] == "restarted").then_some(page)
    })
    .await;
    let before = page["next"].as_str().unwrap();
    let args = ["actors", "log", "--json", "--limit", "1", "--actor", "partition/0", "--before", before];
    assert_ne!(answer(&world, &service, &args).await["events"][0]["what"], "restarted");
    assert_eq!(run(&world, &service, &["healthcheck"]).await.0, Some(0));
}

#[tokio::test]
async fn refused_restarts_say_why() {
    let world = World::new(1).await;
    let service = world.serve().await;
    until_running(&world, &service, 1).await;
    let restart = ["actors", "restart", "writer/0"];
    let viewer = service.token(&[uuid::Uuid::new_v4()], &[Role::OrgViewer]);
    for (token, reason) in [(viewer.as_str(), "Forbidden: the role operator is needed"), ("x", "Unauthorized: ")] {
        let (code, _, error) = run_with(&world, Some(&service), &[("ANALYTICS_TOKEN", token)], &restart).await;
        assert!(code == Some(1) && error.contains(reason), "{error}");
    }
    let (_, operator, _) = run(&world, &service, &["token", "--role", "operator"]).await;
    for (args, code, words) in [
        (
            vec!["actors", "restart", "writer/9"],
            1,
            "/ops/actors/writer/9/restart: Not found: this process has no such actor",
        ),
        (vec!["actors", "restart", "writer/0", "--token", operator.trim()], 0, ""),
        (vec!["actors", "list", "--url", "http://127.0.0.1:1"], 1, "http://127.0.0.1:1/ops/actors: Connection refused"),
        (vec!["actors", "log", "--follow", "--url", "http://127.0.0.1:1"], 1, "Connection refused"),
        (vec!["actors", "list", "--url", "https://127.0.0.1:1"], 2, "must be http://host:port"),
        (vec!["actors", "log", "--limit", "501"], 2, "--limit"),
        (vec!["token", "--role", "finance"], 2, "--org"),
        (vec!["token", "--role", "operator", "--role", "finance"], 2, "--org"),
    ] {
        let (found, _, error) = run(&world, &service, &args).await;
        assert!(found == Some(code) && error.contains(words), "{args:?}: {found:?} {error}");
    }
    let no_secret = [("ANALYTICS__AUTH__HS256_SECRET", "")];
    let (code, _, error) = run_with(&world, Some(&service), &no_secret, &restart).await;
    assert!(code == Some(1) && error.contains("ANALYTICS_TOKEN"), "{error}");
}

/// What a reader has given so far.
fn collect(reader: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            kept.lock().unwrap().push(line.unwrap());
        }
    });
    lines
}

#[tokio::test]
async fn following_the_log_survives_the_service_being_away() {
    let world = World::new(1).await;
    let service = world.serve().await;
    until_running(&world, &service, 1).await;
    let proxy = Proxy::start(service.ops);
    let url = format!("http://{}", proxy.address);
    let mut command = world.command(&["actors", "log", "--follow", "--json", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, errors) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let events =
        || -> Vec<Value> { out.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let of = |what: &str| events().iter().filter(|event| event["what"] == what).count();
    eventually("what happened is shown", async || (of("started") > 3).then_some(())).await;

    proxy.cut();
    eventually("it says that the service is away", async || {
        errors.lock().unwrap().iter().any(|line| line.contains("does not respond")).then_some(())
    })
    .await;
    assert_eq!(run(&world, &service, &["actors", "restart", "writer/0"]).await.0, Some(0));
    until_running(&world, &service, 2).await;
    proxy.heal();
    eventually("what happened meanwhile is shown", async || (of("restarted") == 1).then_some(())).await;
    // As long as two more looks take, which show nothing twice.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut ids: Vec<String> = events().iter().map(|event| event["eventId"].to_string()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "nothing is shown twice");
    assert_eq!(errors.lock().unwrap().len(), 1, "it is said once");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
