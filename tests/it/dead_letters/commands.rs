//! Dead letters by the command line, also where the database is slow or away.

use super::*;

/// Runs `dead-letters` with a text on its standard input.
async fn command(world: &World, args: &[&str], input: &[u8]) -> Output {
    let mut command = world.command(&["dead-letters"]);
    command
        .args(args)
        .envs(&world.routes)
        .env("USER", "ann")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_vec();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn commands_wait_for_a_slow_database() {
    let mut world = World::new(1).await;
    let service = world.serve().await;
    let (rejected, id) = rejected(&world, &service).await;
    let proxy = world.proxy_database();
    // To open a connection takes several round trips.
    proxy.delay(Duration::from_millis(150));
    for args in [&["list"][..], &["show", &id]] {
        let done = command(&world, args, b"").await;
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let (org, id_of_event) = (rejected.org_id.to_string(), rejected.event_id.to_string());
    let mut command = world.command(&["event", "--org", &org, "--event", &id_of_event]);
    command.envs(&world.routes);
    let done = output_of(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn waiting_for_a_correction_outlives_the_database_being_away() {
    let mut world = World::new(1).await;
    let service = world.serve().await;
    let (corrected, id) = rejected(&world, &service).await;
    // Nobody publishes it until there is a service again.
    assert_eq!(service.terminate().await, Some(0));
    let proxy = world.proxy_database();
    let (args, corrected) = (["replay", &id, "--file", "-", "--wait"], body(&corrected));
    let waiting = command(&world, &args, &corrected);
    let meanwhile = async {
        let mut conn = world.connect().await;
        eventually("the correction is stored", async || {
            let stored = "SELECT count(*) FROM analytics.dead_letters WHERE correction IS NOT NULL";
            (number(&mut conn, stored).await == 1).then_some(())
        })
        .await;
        eventually("it waits", async || (proxy.connections() > 0).then_some(())).await;
        for _ in 0..3 {
            proxy.cut();
            millis(1000..1500).await;
            proxy.heal();
            millis(500..1000).await;
        }
        World::serve(&world).await
    };
    let (done, _service) = tokio::join!(waiting, meanwhile);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn the_command_lists_shows_and_replays() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let corrected = event(new_org(), 1, Utc::now());
    let org = corrected.org_id;
    world.send([broken(&corrected), b"\x1b]0;title\x07".to_vec()]).await;
    let id = id_of(&letters(&service, org, 1).await[0]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();

    let listed = command(&world, &["list"], b"").await;
    let table = text(&listed.stdout);
    assert!(table.contains("latencyMs: must be an integer") && table.contains(&org.to_string()), "{table}");
    // The other message may come with another batch.
    let of_none: Value = eventually("the one without an org is listed", async || {
        let of_none = command(&world, &["list", "--no-org", "--json"], b"").await;
        let of_none: Value = serde_json::from_slice(&of_none.stdout).unwrap();
        (of_none["deadLetters"].as_array().unwrap().len() == 1).then_some(of_none)
    })
    .await;
    let unreadable = id_of(&of_none["deadLetters"][0]);
    let shown = text(&command(&world, &["show", &unreadable], b"").await.stdout);
    assert!(shown.contains("\\u{1b}]0;title\\u{7}") && !shown.contains('\x1b'), "{shown}");

    let still_wrong = command(&world, &["replay", &id, "--file", "-"], &broken(&corrected)).await;
    assert_eq!(still_wrong.status.code(), Some(1));
    assert!(text(&still_wrong.stderr).contains("latencyMs: must be an integer"), "{}", text(&still_wrong.stderr));
    let replayed = command(&world, &["replay", &id, "--file", "-", "--wait"], &body(&corrected)).await;
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));
    assert!(text(&replayed.stdout).contains("is in the stream"), "{}", text(&replayed.stdout));
    assert_eq!(until_replayed(&service, org, &id).await["correctedBy"], "command-line/ann");
    let other = Event { latency_ms: 13, ..corrected.clone() };
    let late = command(&world, &["replay", &id, "--file", "-"], &body(&other)).await;
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("was corrected before"), "{}", text(&late.stderr));

    // Where the message names no org, the event does.
    let second = Event { event_id: Uuid::from_u128(2), ..corrected };
    let file = std::env::temp_dir().join(format!("corrected-{}.json", Uuid::new_v4()));
    std::fs::write(&file, body(&second)).unwrap();
    let args = ["replay", &unreadable, "--file", file.to_str().unwrap(), "--wait", "--json"];
    let replayed = command(&world, &args, b"").await;
    std::fs::remove_file(&file).unwrap();
    let answer: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(answer, json!({"id": unreadable, "state": "replayed", "eventId": second.event_id}));
    let mut conn = world.connect().await;
    eventually("both events are stored", async || (LedgerSums::of_batches(&mut conn).await.stored == 2).then_some(()))
        .await;

    const NONE: &str = "00000000-0000-0000-0000-000000000001";
    for (args, code) in [
        (vec!["show", NONE], 1),
        (vec!["replay", NONE, "--file", "/no/such/file"], 1),
        (vec!["show", "one"], 2),
        (vec!["list", "--org", "acme"], 2),
        (vec!["list", "--limit", "0"], 2),
        (vec!["list", "--state", "closed"], 2),
        (vec!["list", "--no-org", "--org", "00000000-0000-0000-0000-000000000001"], 2),
        (vec!["replay", NONE], 2),
        (vec!["--help"], 0),
    ] {
        assert_eq!(command(&world, &args, b"").await.status.code(), Some(code), "{args:?}");
    }
}
