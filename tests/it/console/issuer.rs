//! Signing in by an issuer that is not ours.

use std::process::{Child, Command, Stdio};

use analytics_service::domain::console::ConsolePort;
use reqwest::{
    Method, Response, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::Browser;
use crate::harness::{Service, World, eventually, free_address, local_folder, not_run};

const CLIENT: &str = "analytics-console";

/// A process of it.
struct Issuer {
    child: Child,
    url: String,
}

impl Issuer {
    /// None where it cannot be had.
    async fn start() -> Option<Self> {
        let python = local_folder().join("tools/bin/python");
        let has_it = Command::new(&python).args(["-c", "import oidc_provider_mock"]).stderr(Stdio::null()).status();
        if !has_it.is_ok_and(|status| status.success()) {
            not_run("oidc-provider-mock is not there (make test installs it)");
            return None;
        }
        let address = free_address();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/console/issuer.py");
        let child = Command::new(python)
            .args([script, &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let issuer = Self { child, url: format!("http://{address}") };
        let _ = rustls::crypto::ring::default_provider().install_default();
        eventually("the issuer responds", async || reqwest::get(format!("{}/jwks", issuer.url)).await.ok()).await;
        Some(issuer)
    }

    fn configure(&self, world: &mut World) {
        world.set_all([
            ("ANALYTICS__CONSOLE__OIDC_ALLOW_HTTP".to_owned(), "true".to_owned()),
            ("ANALYTICS__CONSOLE__OIDC_CLIENT_ID".to_owned(), CLIENT.to_owned()),
            ("ANALYTICS__CONSOLE__OIDC_CLIENT_SECRET".to_owned(), "secret-of-the-tests".to_owned()),
            ("ANALYTICS__CONSOLE__OIDC_NAME".to_owned(), "Company <login>".to_owned()),
            ("ANALYTICS__CONSOLE__OIDC_ISSUER".to_owned(), self.url.clone()),
        ]);
    }

    /// Somebody that the issuer knows.
    async fn person(&self, subject: &str, claims: serde_json::Value) {
        let request = reqwest::Client::new().put(format!("{}/users/{subject}", self.url)).json(&claims);
        assert!(request.send().await.unwrap().status().is_success());
    }

    /// Signs in there, as the page that the browser was sent to has it; returns where it is sent back to.
    async fn sign_in(&self, browser: &Browser, place: &str, subject: &str) -> Url {
        assert!(place.starts_with(&self.url), "{place}");
        let request = browser.client.post(place).header("content-type", "application/x-www-form-urlencoded");
        let back = request.body(format!("sub={subject}")).send().await.unwrap();
        let back = location(&back);
        back.parse().unwrap_or_else(|error| panic!("{back}: {error}"))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn location(response: &Response) -> String {
    let status = response.status();
    assert!(status.is_redirection(), "{status}");
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// The cookies that a response sets, by their names.
fn cookies(response: &Response) -> Vec<(String, String)> {
    let all = response.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let pair = |text: &str| text.split(';').next().unwrap().split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    all.filter_map(pair).collect()
}

/// Begins in a browser, which keeps the cookie of the flow; returns where it is sent.
async fn begin(browser: &mut Browser, page: &str) -> String {
    let begun = browser.request(Method::GET, &format!("/console/sign-in/issuer?return={page}")).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::FOUND);
    let set = begun.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.ends_with("; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
    let [(name, value)] = &cookies(&begun)[..] else { panic!("one cookie") };
    browser.cookie = format!("{name}={value}");
    location(&begun)
}

/// Comes back from the issuer; returns where it is sent, and keeps its session where there is one.
async fn come_back(browser: &mut Browser, place: &Url) -> String {
    let path = format!("{}?{}", place.path(), place.query().unwrap_or_default());
    let back = browser.request(Method::GET, &path).header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    for (name, value) in cookies(&back) {
        if name.ends_with("-flow") {
            assert!(value.is_empty(), "it goes once");
        } else {
            browser.cookie = format!("{name}={value}");
        }
    }
    location(&back)
}

async fn start() -> Option<(Issuer, World, Service)> {
    let issuer = Issuer::start().await?;
    let mut world = World::new(1).await;
    issuer.configure(&mut world);
    let service = world.serve().await;
    Some((issuer, world, service))
}

#[tokio::test]
async fn somebody_signs_in_by_an_issuer() {
    let Some((issuer, _world, service)) = start().await else { return };
    let org = Uuid::new_v4();
    issuer.person("ann", json!({"org_ids": [org], "roles": ["org_admin", "astronaut"]})).await;
    let mut browser = Browser::new(&service, ConsolePort::Api);
    let page = browser.request(Method::GET, "/console/sign-in").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("data-issuer=\"Company &#60;login&#62;\""), "{page}");
    let place = begin(&mut browser, "%2Fconsole%2Fusage%3Fby%3Dmodel").await;
    let query: Url = place.parse().unwrap();
    let of = |name: &str| query.query_pairs().find(|(of, _)| of == name).unwrap().1.into_owned();
    assert_eq!((of("response_type"), of("client_id"), of("scope")), ("code".into(), CLIENT.into(), "openid".into()));
    assert_eq!(of("redirect_uri"), format!("http://{}/console/sign-in/callback", service.api));
    let back = issuer.sign_in(&browser, &place, "ann").await;
    assert_eq!(come_back(&mut browser, &back).await, "/console/usage?by=model");
    let (status, me) = browser.get("/analytics/v1/me").await;
    assert_eq!(status, 200);
    assert_eq!((&me["subject"], &me["orgs"], &me["roles"]), (&json!("ann"), &json!([org]), &json!(["org_admin"])));
    assert_eq!(browser.sign_out().await, 204);
    assert_eq!(browser.me().await, 401);
}

#[tokio::test]
async fn only_the_browser_that_began_it_is_signed_in() {
    let Some((issuer, _world, service)) = start().await else { return };
    let (mut own, mut other) = (Browser::new(&service, ConsolePort::Api), Browser::new(&service, ConsolePort::Api));
    let place = begin(&mut own, "/console/").await;
    let back = issuer.sign_in(&own, &place, "ann").await;
    let failed = |place: &str| {
        place.strip_prefix("/console/sign-in?failed=").map(|rest| rest.split('&').next().unwrap().to_owned())
    };
    // Sent to somebody else, who has begun nothing, or something of their own.
    assert_eq!(failed(&come_back(&mut other.clone(), &back).await).as_deref(), Some("state"));
    begin(&mut other, "/console/").await;
    assert_eq!(failed(&come_back(&mut other.clone(), &back).await).as_deref(), Some("state"));
    // The code, in another flow: its verifier is another.
    let mut mixed = begin(&mut other, "/console/").await.parse::<Url>().unwrap();
    let state = mixed.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    mixed = back.clone();
    mixed.query_pairs_mut().clear().append_pair("code", &code).append_pair("state", &state);
    assert_eq!(failed(&come_back(&mut other.clone(), &mixed).await).as_deref(), Some("refused"));
    // Of another issuer (RFC 9207), without a code, with two states.
    for change in ["&iss=https%3A%2F%2Fother.test", "&state=x"] {
        let changed: Url = format!("{back}{change}").parse().unwrap();
        assert!(failed(&come_back(&mut own.clone(), &changed).await).is_some(), "{change}");
    }
    let flow = own.clone();
    assert_eq!(come_back(&mut own, &back).await, "/console/");
    assert_eq!(own.me().await, 200);
    // Once more is too often.
    assert_eq!(failed(&come_back(&mut flow.clone(), &back).await).as_deref(), Some("refused"));
    assert!(!other.cookie.contains("console="));
}

#[tokio::test]
async fn the_way_back_leads_to_the_console_alone() {
    let Some((mut issuer, _world, service)) = start().await else { return };
    for page in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example%2Fconsole%2F",
        "%2Fconsole%2F..%2Fanalytics",
        "%2Fconsole%2Fsign-in",
    ] {
        let mut browser = Browser::new(&service, ConsolePort::Api);
        let place = begin(&mut browser, page).await;
        let back = issuer.sign_in(&browser, &place, "ann").await;
        assert_eq!(come_back(&mut browser, &back).await, "/console/", "{page}");
    }
    // Another page cannot have somebody signed in.
    let browser = Browser::new(&service, ConsolePort::Api);
    for site in ["cross-site", "same-site"] {
        let begun = browser.request(Method::GET, "/console/sign-in/issuer").header("sec-fetch-site", site);
        let begun = begun.send().await.unwrap();
        assert_eq!(location(&begun), "/console/sign-in?failed=state&return=%2Fconsole%2F");
    }
    // Only operators on the operations port.
    issuer.person("op", json!({"roles": ["operator"]})).await;
    for (subject, expected) in [("ann", "/console/sign-in?failed=role&return=%2Fconsole%2F"), ("op", "/console/")] {
        let mut browser = Browser::new(&service, ConsolePort::Operations);
        let place = begin(&mut browser, "/console/").await;
        let back = issuer.sign_in(&browser, &place, subject).await;
        assert_eq!(come_back(&mut browser, &back).await, expected);
    }
    issuer.child.kill().unwrap();
    issuer.child.wait().unwrap();
    let mut browser = Browser::new(&service, ConsolePort::Api);
    browser.cookie = "__Host-analytics-console-flow=x.y".to_owned();
    let back = format!("http://{}/console/sign-in/callback?code=x&state=y", service.api).parse().unwrap();
    assert!(come_back(&mut browser, &back).await.contains("failed=state"));
    let mut restarted = Browser::new(&service, ConsolePort::Api);
    // What it published is still known; the code cannot be redeemed.
    let place: Url = begin(&mut restarted, "/console/").await.parse().unwrap();
    let state = place.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let back = format!("http://{}/console/sign-in/callback?code=x&state={state}", service.api).parse().unwrap();
    assert!(come_back(&mut restarted, &back).await.contains("failed=away"));
}
