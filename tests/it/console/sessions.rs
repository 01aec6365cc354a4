//! How sessions begin and end.

use analytics_service::{auth::Role, domain::console::ConsolePort};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Browser, ME, link};
use crate::harness::{AT_ONCE, World, bound, eventually};

/// Acts of the audit log, and who did them, in their order.
async fn acts(world: &World, pattern: &str) -> Vec<(String, Option<String>, String)> {
    sqlx::query_as(
        "SELECT action, subject, outcome FROM analytics.audit_events WHERE action LIKE $1 ORDER BY occurred_at, event_id",
    )
    .bind(pattern)
    .fetch_all(&mut world.connect().await)
    .await
    .unwrap()
}

/// Changes all sessions, as time would.
async fn change(world: &World, set: &'static str) {
    let statement = format!("UPDATE analytics.console_sessions SET {set}");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut world.connect().await).await.unwrap();
}

async fn sessions(world: &World) -> i64 {
    let count = "SELECT count(*) FROM analytics.console_sessions";
    sqlx::query_scalar(count).fetch_one(&mut world.connect().await).await.unwrap()
}

#[tokio::test]
async fn a_session_has_the_rights_of_its_token() {
    let world = World::new(1).await;
    let (service, elsewhere) = (world.serve().await, world.serve().await);
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let token = service.token(&[org], &[Role::OrgViewer]);
    let mut browser = Browser::new(&service, ConsolePort::Api);
    assert_eq!(browser.me().await, 401);
    assert_eq!(browser.sign_in(&json!({"token": token})).await.0, 204);
    for browser in [browser.clone(), browser.at(elsewhere.api)] {
        let (status, me) = browser.get("/analytics/v1/me").await;
        assert_eq!(status, 200);
        assert_eq!((&me["subject"], &me["credential"], &me["orgs"]), (&json!("tests"), &json!("token"), &json!([org])));
        let freshness = |org: Uuid| format!("/analytics/v1/orgs/{org}/freshness");
        assert_eq!(browser.get(&freshness(org)).await.0, 200);
        assert_eq!(browser.get(&freshness(other)).await.0, 403);
        assert_eq!(browser.get(&format!("/analytics/v1/orgs/{org}/api-keys")).await.0, 403);
    }
    let stored: String = sqlx::query_scalar("SELECT row_to_json(s)::text FROM analytics.console_sessions s")
        .fetch_one(&mut world.connect().await)
        .await
        .unwrap();
    let secret = browser.cookie.split_once('=').unwrap().1;
    assert!(!stored.contains(secret) && !stored.contains(&token), "{stored}");
    assert_eq!(browser.sign_out().await, 204);
    assert_eq!([browser.me().await, browser.at(elsewhere.api).me().await], [401, 401]);
    assert_eq!(browser.sign_out().await, 204, "once more changes nothing");
    let by = Some("tests".to_owned());
    let expected =
        ["console.sign_in", "console.sign_out"].map(|act| (act.to_owned(), by.clone(), "allowed".to_owned()));
    assert_eq!(acts(&world, "console.%").await, expected);
}

#[tokio::test]
async fn a_session_ends_without_use_and_by_its_time() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__CONSOLE__IDLE_TIMEOUT_SECONDS", "600");
    let service = world.serve().await;
    let token = service.token(&[Uuid::new_v4()], &[Role::OrgViewer]);
    let mut browser = Browser::new(&service, ConsolePort::Api);
    let poll = async |browser: &Browser| {
        browser.request(Method::GET, "/analytics/v1/me").header("x-console", "poll").send().await.unwrap().status()
    };
    browser.sign_in(&json!({"token": token})).await;
    // What a page requests by itself is no use of it.
    change(&world, "used_at = clock_timestamp() - interval '550 s'").await;
    assert_eq!(poll(&browser).await, 200);
    change(&world, "used_at = used_at - interval '60 s'").await;
    assert_eq!([poll(&browser).await, browser.me().await], [401, 401]);
    // What somebody does is.
    browser.sign_in(&json!({"token": token})).await;
    change(&world, "used_at = clock_timestamp() - interval '550 s'").await;
    assert_eq!(browser.me().await, 200);
    change(&world, "used_at = used_at - interval '60 s'").await;
    assert_eq!(browser.me().await, 200);
    // However much it is used, it ends.
    change(&world, "expires_at = clock_timestamp()").await;
    assert_eq!(browser.me().await, 401);
    let (status, problem) = browser.get("/analytics/v1/me").await;
    assert_eq!((status.as_u16(), &problem["detail"]), (401, &json!("the session has ended: sign in again")));
    let report = world.report(&["purge"]).await;
    assert_eq!(report["records"]["consoleSessions"], 1, "{report}");
}

#[tokio::test]
async fn a_session_lasts_no_longer_than_its_token() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4().to_string();
    let args = ["token", "--org", &org, "--ttl", "5m"];
    let token = String::from_utf8(world.run(&args).await.stdout).unwrap();
    let mut browser = Browser::new(&service, ConsolePort::Api);
    assert_eq!(browser.sign_in(&json!({"token": token})).await.0, 204);
    let seconds: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM analytics.console_sessions",
    )
    .fetch_one(&mut world.connect().await)
    .await
    .unwrap();
    assert!((200.0..=301.0).contains(&seconds), "{seconds}");
    let (_, me) = browser.get("/analytics/v1/me").await;
    assert!(me["expiresAt"].is_string(), "{me}");
}

#[tokio::test]
async fn a_revoked_key_ends_its_sessions_at_once() {
    let world = World::new(1).await;
    let (here, elsewhere) = (world.serve().await, world.serve().await);
    let org = Uuid::new_v4();
    let args = ["api-key", "create", "--org", &org.to_string(), "--role", "org_viewer", "--name", "console"];
    let key = world.report(&args).await;
    let mut browser = Browser::new(&here, ConsolePort::Api);
    assert_eq!(browser.sign_in(&json!({"apiKey": key["key"]})).await.0, 204);
    let (_, me) = browser.get("/analytics/v1/me").await;
    assert_eq!((&me["credential"], &me["keyId"]), (&json!("api_key"), &key["id"]));
    let there = browser.at(elsewhere.api);
    assert_eq!(there.me().await, 200);
    let admin = here.token(&[org], &[Role::OrgAdmin]);
    let path = format!("/analytics/v1/orgs/{org}/api-keys/{}/revoke", key["id"].as_str().unwrap());
    assert_eq!(here.post(&path, &admin, Vec::new()).await.0, 200);
    // No process remembers that it was good.
    assert_eq!([browser.me().await, there.me().await], [401, 401]);
    let mut again = Browser::new(&here, ConsolePort::Api);
    assert_eq!(again.sign_in(&json!({"apiKey": key["key"]})).await.0, 401);
}

#[tokio::test]
async fn each_sign_in_has_a_new_secret() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let token = service.token(&[Uuid::new_v4()], &[Role::OrgViewer]);
    // A secret that somebody else knows is planted before.
    let mut victim = Browser::new(&service, ConsolePort::Api);
    let mut planted = victim.clone();
    planted.sign_in(&json!({"token": token})).await;
    victim.cookie = planted.cookie.clone();
    assert_eq!(victim.sign_in(&json!({"token": token})).await.0, 204);
    assert_ne!(victim.cookie, planted.cookie);
    assert_eq!((victim.me().await, planted.me().await), (reqwest::StatusCode::OK, reqwest::StatusCode::UNAUTHORIZED));
    victim.cookie = "__Host-analytics-console=".to_owned() + &"A".repeat(43);
    assert_eq!(victim.me().await, 401);
    assert_eq!(victim.sign_in(&json!({"token": token})).await.0, 204);
    assert!(!victim.cookie.ends_with(&"A".repeat(43)));
    // The oldest of a subject's sessions make room.
    let mut all = Vec::new();
    for _ in 0..21 {
        let mut browser = Browser::new(&service, ConsolePort::Api);
        browser.sign_in(&json!({"token": token})).await;
        all.push(browser);
    }
    assert_eq!(sessions(&world).await, 20);
    assert_eq!([all[0].me().await, all[1].me().await, all[20].me().await], [401, 200, 200]);
}

#[tokio::test]
async fn a_link_signs_in_one_of_many() {
    let world = World::new(1).await;
    let (one, two) = (world.serve().await, world.serve().await);
    let org = Uuid::new_v4().to_string();
    let printed = link(&world, &["--org", &org, "--role", "org_admin", "--role", "finance"]).await;
    assert!(printed.starts_with("http://") && printed.contains("/console/sign-in#link="), "{printed}");
    let tries = (0..16).map(|n| {
        let (mut browser, printed) = (Browser::new([&one, &two][n % 2], ConsolePort::Api), printed.clone());
        async move { (browser.follow(&printed).await.0.as_u16(), browser) }
    });
    let tried = futures_util::future::join_all(tries).await;
    let statuses: Vec<u16> = tried.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [204, 401].contains(status)), "{statuses:?}");
    let (_, browser) = tried.into_iter().find(|(status, _)| *status == 204).unwrap();
    let (_, me) = browser.get("/analytics/v1/me").await;
    assert_eq!((&me["credential"], &me["orgs"]), (&json!("command_line"), &json!([org])), "{me}");
    assert_eq!(me["roles"], json!(["org_admin", "finance"]));
    assert!(me["subject"].as_str().unwrap().starts_with("command-line/"));
    let done: Vec<String> = acts(&world, "console.%").await.into_iter().map(|(act, ..)| act).take(2).collect();
    assert_eq!(done, ["console.link", "console.sign_in"]);
    let refused = eventually("the refusals are recorded", async || {
        let acts = acts(&world, "console.sign_in").await;
        acts.into_iter().find(|(.., outcome)| outcome == "denied")
    });
    assert_eq!(refused.await.1, None);
}

#[tokio::test]
async fn a_link_names_its_subject() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let mut browser = Browser::new(&service, ConsolePort::Api);
    let printed = link(&world, &["--role", "system_admin", "--subject", "ann@example.org"]).await;
    assert_eq!(browser.follow(&printed).await.0, 204);
    assert_eq!(browser.get("/analytics/v1/me").await.1["subject"], "ann@example.org");
    for wrong in ["", "two\nlines", &"a".repeat(201)] {
        let output = world.run(&["console", "link", "--role", "system_admin", "--subject", wrong]).await;
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[tokio::test]
async fn a_link_is_for_its_port_and_its_time() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let mut operator = Browser::new(&service, ConsolePort::Operations);
    let mut person = Browser::new(&service, ConsolePort::Api);
    let printed = link(&world, &["--port", "operations", "--role", "operator"]).await;
    let (status, problem) = person.follow(&printed).await;
    assert_eq!((status.as_u16(), problem["type"].as_str()), (401, Some("/problems/unauthorized")), "{problem}");
    // It was not used up by that.
    assert_eq!(operator.follow(&printed).await.0, 204);
    assert!(operator.cookie.starts_with("__Host-analytics-operations="));
    // The session of one port is none of the other's, under either name.
    person.cookie = operator.cookie.clone();
    assert_eq!(person.me().await, 401);
    person.cookie = operator.cookie.replace("operations", "console");
    assert_eq!(person.me().await, 401);
    let restart = operator.request(Method::POST, "/ops/actors/names/restart").header("x-console", "1");
    assert_eq!(restart.send().await.unwrap().status(), 202);
    let late = link(&world, &["--role", "system_admin", "--ttl", "1s"]).await;
    let gone = "SELECT count(*) FROM analytics.console_links WHERE expires_at < clock_timestamp()";
    eventually("the link has expired", async || {
        let expired: i64 = sqlx::query_scalar(gone).fetch_one(&mut world.connect().await).await.unwrap();
        (expired == 1).then_some(())
    })
    .await;
    assert_eq!(person.follow(&late).await.0, 401);
    let report = world.report(&["purge"]).await;
    assert_eq!(report["records"]["consoleLinks"], 1, "{report}");
    for args in [
        &["--role", "finance"][..],
        &["--port", "operations", "--role", "system_admin"],
        &["--role", "operator", "--ttl", "2d"],
        &["--role", "operator", "--port", "other"],
    ] {
        assert_eq!(world.run(&[&["console", "link"], args].concat()).await.status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn only_operators_sign_in_to_the_operations_port() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let mut browser = Browser::new(&service, ConsolePort::Operations);
    for role in [Role::SystemAdmin, Role::OrgAdmin] {
        let token = service.token(&[Uuid::new_v4()], &[role]);
        let (status, problem) = browser.sign_in(&json!({"token": token})).await;
        assert_eq!(status, 403, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("operator"), "{problem}");
    }
    assert_eq!(browser.sign_in(&json!({"token": service.token(&[], &[Role::Operator])})).await.0, 204);
    assert_eq!(sessions(&world).await, 1);
}

#[tokio::test]
async fn what_signs_nobody_in_says_what_to_do() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__RATE_LIMIT__REFUSED_BURST", "12");
    world.set("ANALYTICS__RATE_LIMIT__REFUSED_PER_SECOND", "1");
    let service = world.serve().await;
    let mut browser = Browser::new(&service, ConsolePort::Api);
    let good = service.token(&[Uuid::new_v4()], &[Role::OrgViewer]);
    for (body, status) in [
        (json!({}), 400),
        (json!([]), 400),
        (json!({"token": 7}), 400),
        (json!({"token": good, "apiKey": "x"}), 400),
        (json!({"password": good}), 400),
        (json!({"token": ""}), 401),
        (json!({"token": format!("{good}x")}), 401),
        (json!({"token": "ak_0_0"}), 401),
        (json!({"apiKey": good}), 401),
        (json!({"link": "x"}), 401),
        (json!({"link": "A".repeat(43)}), 401),
        (json!({"token": "x".repeat(30_000)}), 413),
    ] {
        let (found, problem) = browser.sign_in(&body).await;
        assert_eq!(found.as_u16(), status, "{body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(status != 401 || detail.contains("check that it is whole") || detail.contains("request another"));
        assert!(!problem.to_string().contains(&good), "{problem}");
    }
    // One is let through each second.
    let mut limited = false;
    for _ in 0..20 {
        limited |= browser.sign_in(&json!({"link": "A".repeat(43)})).await.0 == 429;
    }
    assert!(limited);
    assert_eq!(browser.sign_in(&json!({"token": good})).await.0, 204, "a good one is accepted all the same");
    let mut other = Browser::new(&service, ConsolePort::Api);
    for _ in 0..5 {
        other.sign_in(&json!({"link": "A".repeat(43)})).await;
    }
    assert_eq!(browser.me().await, 200, "and its session is used at once");
}

#[tokio::test]
async fn a_session_outlasts_an_outage_of_the_database() {
    let mut world = World::new(1).await;
    let proxy = world.proxy_database();
    let service = world.serve().await;
    let token = service.token(&[Uuid::new_v4()], &[Role::OrgViewer]);
    let mut browser = Browser::new(&service, ConsolePort::Api);
    assert_eq!(browser.sign_in(&json!({"token": token})).await.0, 204);
    proxy.cut();
    let began = std::time::Instant::now();
    assert_eq!(browser.try_get(ME).await.0, 503);
    assert!(began.elapsed() < bound(AT_ONCE), "{:?}", began.elapsed());
    assert_eq!(browser.clone().try_sign_in(&json!({"token": token})).await.0, 503);
    assert_eq!(browser.try_sign_out().await, 503);
    let page = browser.request(Method::GET, "/console/").send().await.unwrap();
    assert_eq!(page.status(), 200, "the pages need no database");
    proxy.heal();
    eventually("the session goes on", async || (browser.me().await == 200).then_some(())).await;
}
