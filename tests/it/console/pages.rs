//! The console in a real browser.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    chromium::{Chromium, Shape},
    link,
    visitor::EXPECTED,
};
use crate::harness::{Service, World, eventually};

/// What `/me` of a port responds to the page that is shown.
async fn me(browser: &Chromium, path: &str) -> Value {
    let request = format!(
        "const done = arguments[arguments.length - 1];
         fetch('{path}', {{headers: {{'X-Console': '1'}}}})
            .then(response => response.status === 200 ? response.json() : response.status).then(done, error => done(String(error)));"
    );
    responded(async || browser.script_async(&request).await).await
}

/// Again while the database does not respond in time.
async fn responded(mut send: impl AsyncFnMut() -> Value) -> Value {
    eventually("there is a response", async || Some(send().await).filter(|status| *status != json!(503))).await
}

/// Follows a link as the command prints it: with the address that this world's service has.
async fn follow(browser: &Chromium, base: std::net::SocketAddr, printed: &str) {
    let (_, secret) = printed.split_once("#link=").unwrap();
    // From the page itself it would be no navigation.
    browser.open("about:blank").await;
    browser.open(&format!("http://{base}/console/sign-in#link={secret}")).await;
}

/// Signs in as the pages do, on whatever page is shown.
async fn redeem(browser: &Chromium, base: std::net::SocketAddr, printed: &str) -> Value {
    let (_, secret) = printed.split_once("#link=").unwrap();
    browser.open(&format!("http://{base}/console/no-such-page")).await;
    sign_in_by(browser, secret).await
}

async fn sign_in_by(browser: &Chromium, secret: &str) -> Value {
    let request = format!(
        "const done = arguments[arguments.length - 1];
         fetch('/console/sign-in', {{method: 'POST', body: JSON.stringify({{link: '{secret}'}}),
                headers: {{'X-Console': '1', 'Content-Type': 'application/json'}}}})
            .then(response => done(response.status), error => done(String(error)));"
    );
    responded(async || browser.script_async(&request).await).await
}

async fn both(world: &World, service: &Service) -> [(std::net::SocketAddr, &'static str, String); 2] {
    let org = Uuid::new_v4().to_string();
    [
        (service.api, "/analytics/v1/me", link(world, &["--org", &org, "--role", "org_admin"]).await),
        (service.ops, "/ops/me", link(world, &["--port", "operations", "--role", "operator"]).await),
    ]
}

#[tokio::test]
async fn a_browser_keeps_a_session_on_each_port() {
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    let world = World::new(1).await;
    let service = world.serve().await;
    let ports = both(&world, &service).await;
    for (base, path, printed) in &ports {
        browser.open(&format!("http://{base}/console/")).await;
        assert_eq!(me(&browser, path).await, json!(401));
        assert_eq!(redeem(&browser, *base, printed).await, json!(204));
    }
    // The two consoles are of one host, and neither has put the other's cookie out.
    for (base, path, _) in &ports {
        browser.open(&format!("http://{base}/console/")).await;
        assert!(me(&browser, path).await["subject"].is_string());
        assert_eq!(browser.script("return document.cookie").await, json!(""), "no script sees it");
        let stored = "return [localStorage, sessionStorage].map(s => JSON.stringify(s)).join('')";
        assert!(!browser.script(stored).await.as_str().unwrap().contains("eyJ"));
        assert_eq!(browser.complaints(&[401, 404]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_page_on_another_port_uses_no_session() {
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    let world = World::new(1).await;
    let service = world.serve().await;
    let [(api, _, printed), (ops, ..)] = both(&world, &service).await;
    assert_eq!(redeem(&browser, api, &printed).await, json!(204));
    // A page of the same host on another port: the browser sends the cookie, and says that the page is another one. The pages' own
    // policy is in the way of requests elsewhere, so it is read without one.
    browser.open(&format!("http://{ops}/healthz")).await;
    let status = browser
        .script_async(&format!(
            "const done = arguments[arguments.length - 1];
             fetch('http://{api}/analytics/v1/me', {{credentials: 'include', mode: 'no-cors'}})
                .then(() => fetch('http://{api}/analytics/v1/me', {{credentials: 'include', headers: {{'X-Console': '1'}}}}))
                .then(response => done(response.status), error => done(String(error)));"
        ))
        .await;
    assert!(status.as_str().is_some_and(|error| error.contains("Failed to fetch")), "{status}");
    let form = format!(
        "const form = document.createElement('form'); form.method = 'POST'; form.action = 'http://{api}/console/sign-out';
         document.body.append(form); form.submit();"
    );
    browser.script(&form).await;
    browser.open(&format!("http://{api}/console/")).await;
    assert!(me(&browser, "/analytics/v1/me").await["subject"].is_string(), "it is signed in still");
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_leads_to_signing_in() {
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    let world = World::new(1).await;
    let service = world.serve().await;
    let [(api, path, printed), _] = both(&world, &service).await;
    follow(&browser, api, &printed).await;
    browser.shown("nav").await;
    let place = browser.client.current_url().await.unwrap();
    assert!(place.fragment().is_none(), "a link stays in no history: {place}");
    assert!(me(&browser, path).await["subject"].is_string());
    sqlx::query("DELETE FROM analytics.console_sessions").execute(&mut world.connect().await).await.unwrap();
    let wanted = format!("http://{api}/console/usage?granularity=day");
    browser.open(&wanted).await;
    browser.shown(".sign-in form").await;
    assert_eq!(browser.client.current_url().await.unwrap().path(), "/console/usage", "the address is kept");
    let again = link(&world, &["--role", "system_admin"]).await;
    let (_, secret) = again.split_once("#link=").unwrap();
    let signed_in = sign_in_by(&browser, secret).await;
    assert_eq!(signed_in, json!(204));
    browser.open(&wanted).await;
    browser.shown("nav").await;
    assert_eq!(browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_first_pages_can_be_used_by_everybody() {
    let world = World::new(1).await;
    let service = world.serve().await;
    for shape in [Shape::default(), Shape { width: 360, height: 740, dark: true, zone: "Pacific/Apia" }] {
        let Some(browser) = Chromium::start(shape).await else { return };
        for (base, _, printed) in both(&world, &service).await {
            browser.open(&format!("http://{base}/console/sign-in")).await;
            browser.shown(".sign-in form").await;
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "signing in at {}", shape.width);
            follow(&browser, base, &printed).await;
            browser.shown("nav").await;
            browser.says("UTC").await;
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "the first page at {}", shape.width);
            let wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(browser.script(wider).await, json!(false), "{}", shape.width);
            let covered = "const brand = document.querySelector('.brand'), of = found => found.getBoundingClientRect();
                const account = of(document.querySelector('.account'));
                return of(brand.lastElementChild).right > account.left && of(brand).bottom > account.top;";
            assert_eq!(
                browser.script(covered).await,
                json!(false),
                "who is signed in covers nothing at {}",
                shape.width
            );
        }
        assert_eq!(browser.complaints(&EXPECTED).await, Vec::<String>::new());
    }
}
