//! Pages where something is slow, late, wrong or gone: none shows what is not so, and none stays blank.

use analytics_service::auth::Role;
use chrono::Utc;
use fantoccini::Locator;
use serde_json::json;
use uuid::Uuid;

use super::{
    chromium::Shape,
    link,
    visitor::{EXPECTED, Visitor},
};
use crate::{
    harness::{World, eventually, settled},
    store_commit::{body, event},
};

/// Has each page that is loaded from now on pass responses whose address has this text through a script, in which `response` is one.
async fn pass(visitor: &mut Visitor, address: &str, script: &str) {
    let source = format!(
        "const send = window.fetch;
         window.fetch = async (...of) => {{
             let response = await send(...of);
             if (String(of[0]).includes('{address}')) {{ {script} }}
             return response;
         }};"
    );
    visitor.browser.run("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
}

#[tokio::test]
async fn a_response_slower_than_the_refresh_is_shown() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--port", "operations", "--role", "operator"];
    let Some(mut visitor) = Visitor::enter(&world, service.ops, Shape::default(), &with).await else { return };
    // Longer than the five seconds after which the page requests it again.
    pass(&mut visitor, "/ops/actors", "await new Promise(done => setTimeout(done, 5500));").await;
    visitor.browser.open(&format!("http://{}/console/", service.ops)).await;
    visitor.browser.shown("[aria-label='Restart writer/0']").await;
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_comes_too_late_for_its_page_is_not_shown() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    world.send([body(&event(org.as_u128(), 1, Utc::now()))]).await;
    settled(&mut world.connect().await, 1).await;
    let with = ["--org", &org.to_string(), "--role", "org_viewer"];
    let Some(mut visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let late = "const text = (await response.text()).replace(/\"status\":\"[a-z]+\",?/, '\"status\":\"delayed\",').replace(',}', '}');
         await new Promise(done => setTimeout(done, 2000));
         window.came = true;
         response = new Response(text, {status: 200, headers: response.headers});";
    pass(&mut visitor, "/reliability", late).await;
    visitor.at("usage?range=today").await;
    assert!(!visitor.texts(".tile").await.is_empty());
    visitor.browser.open(&format!("http://{}/console/reliability?range=today", service.api)).await;
    visitor.browser.shown(".side a[href*='/usage']").await.click().await.unwrap();
    eventually("the late response is there", async || {
        (visitor.browser.script("return window.came ?? false").await == true).then_some(())
    })
    .await;
    visitor.settled().await;
    let context = visitor.texts(".context").await.concat();
    assert!(context.contains("complete to") && !context.contains("delayed"), "{context}");
}

#[tokio::test]
async fn a_page_that_stays_open_shows_the_next_day() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_viewer"];
    let Some(mut visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let later = "const headers = new Headers(response.headers);
         if (window.isTomorrow) headers.set('Date', new Date(Date.now() + 86400000).toUTCString());
         response = new Response(response.status === 304 ? null : await response.text(), {status: response.status, headers});";
    pass(&mut visitor, "/analytics/", later).await;
    visitor.at("usage?range=today").await;
    let dates = async || visitor.texts(".context span").await.swap_remove(1);
    let today = dates().await;
    // Somebody is about to choose other days.
    let choose =
        "const range = [...document.querySelectorAll('select')].find(one => one.querySelector('[value=custom]'));
         range.value = 'custom';
         range.dispatchEvent(new Event('change', {bubbles: true}))";
    visitor.browser.script(choose).await;
    visitor.browser.shown(".dates input").await;
    let first = "const first = document.querySelector('.dates input');";
    let write = "first.value = '2026-02-03'; first.dispatchEvent(new Event('input', {bubbles: true}))";
    visitor.browser.script(&format!("{first} {write}")).await;
    let soon = "window.isTomorrow = true; document.dispatchEvent(new Event('visibilitychange'))";
    eventually("the next day is shown", async || {
        visitor.browser.script(soon).await;
        (dates().await != today).then_some(())
    })
    .await;
    assert_eq!(visitor.browser.script(&format!("{first} return first.value")).await, "2026-02-03");
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_the_services_breaks_no_page() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_admin"];
    let Some(mut visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    // As a proxy on the way has it, where somebody has to sign in to the network.
    let page = "response = new Response('<!doctype html><p>Sign in to the network', {status: 200, headers: {'Content-Type': 'text/html'}});";
    pass(&mut visitor, "/orgs/", page).await;
    for page in ["", "usage", "reliability", "trust", "exports", "dead-letters", "api-keys"] {
        visitor.browser.open(&format!("http://{}/console/{page}", service.api)).await;
        visitor.browser.says("The service does not respond.").await;
        assert!(!visitor.browser.text().await.contains("This page has a fault"), "{page}");
    }
    for page in ["constructor", "%E0%A4%A", "__proto__/x", "usage?range=99999999999d&by=toString&measure=constructor"] {
        visitor.browser.open(&format!("http://{}/console/{page}", service.api)).await;
        visitor.browser.shown("nav").await;
    }
    assert_eq!(visitor.browser.complaints(&[400, 401, 503]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_link_does_not_replace_somebody_unawares() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let Some(visitor) =
        Visitor::enter(&world, service.api, Shape::default(), &["--org", &own, "--role", "org_viewer"]).await
    else {
        return;
    };
    let planted = link(&world, &["--org", &other, "--role", "org_viewer"]).await;
    let (_, secret) = planted.split_once("#link=").unwrap();
    visitor.browser.open("about:blank").await;
    visitor.browser.open(&format!("http://{}/console/sign-in#link={secret}", service.api)).await;
    visitor.browser.says("This link signs in somebody else in your place.").await;
    assert!(visitor.browser.client.current_url().await.unwrap().fragment().is_none());
    let who = "const done = arguments[arguments.length - 1];
        fetch('/analytics/v1/me', {headers: {'X-Console': '1'}}).then(response => response.json()).then(me => done(me.orgs[0]));";
    assert_eq!(visitor.browser.script_async(who).await, json!(own));
    visitor.browser.shown("#replace").await.click().await.unwrap();
    visitor.browser.shown("nav").await;
    assert_eq!(visitor.browser.script_async(who).await, json!(other));
}

#[tokio::test]
async fn signing_out_ends_every_tab_or_says_that_it_did_not() {
    let mut world = World::new(1).await;
    let database = world.proxy_database();
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("api-keys").await;
    let client = &visitor.browser.client;
    let first = client.window().await.unwrap();
    let second = client.new_window(true).await.unwrap().handle;
    client.switch_to_window(second.clone()).await.unwrap();
    // It has nothing that it would refresh by itself.
    visitor.at("api-keys").await;
    client.switch_to_window(first).await.unwrap();
    database.cut();
    let leave = "document.querySelector('.account').open = true; document.querySelector('.account button').click()";
    visitor.browser.script(leave).await;
    visitor.browser.says("You are still signed in").await;
    database.heal();
    eventually("somebody is signed out", async || {
        visitor.browser.script(leave).await;
        client.wait().at_most(std::time::Duration::from_secs(2)).for_element(Locator::Css(".sign-in form")).await.ok()
    })
    .await;
    client.switch_to_window(second).await.unwrap();
    visitor.browser.shown(".sign-in form").await;
}

#[tokio::test]
async fn pages_of_another_org_do_not_refresh_themselves() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let good = String::from_utf8(body(&event(org.as_u128(), 1, Utc::now()))).unwrap();
    world.send([good.replace("\"latencyMs\":12", "\"latencyMs\":-12").into_bytes()]).await;
    settled(&mut world.connect().await, 1).await;
    let admin = service.token(&[org], &[Role::OrgAdmin]);
    let letters = format!("/analytics/v1/orgs/{org}/dead-letters");
    let (_, page) = service.get(&letters, &admin).await;
    let id = page["deadLetters"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(service.post(&format!("{letters}/{id}/replay"), &admin, good.into_bytes()).await.0, 202);
    settled(&mut world.connect().await, 2).await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "system_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at(&format!("dead-letters/{id}?org={org}")).await;
    visitor.browser.says("What became of it").await;
    let read = async || -> i64 {
        let acts = "SELECT coalesce(sum(event_count), 0)::int8 FROM analytics.audit_events WHERE org_id = $1 AND action LIKE '%.read'";
        sqlx::query_scalar(acts).bind(org).fetch_one(&mut world.connect().await).await.unwrap()
    };
    let before = read().await;
    // Longer than the two seconds after which such a page of one's own org refreshes itself: proof that nothing happens.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(read().await, before);
}
