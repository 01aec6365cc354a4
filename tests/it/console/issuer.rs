//! Signing in by an issuer that is not ours.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use analytics_service::domain::console::ConsolePort;
use fantoccini::key::Key;
use reqwest::{
    Method, Response, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{
    Browser,
    chromium::{Chromium, Shape},
    visitor::EXPECTED,
};
use crate::harness::{Service, World, bound, eventually, free_address, local_folder, not_run};

const CLIENT: &str = "analytics-console";
const CLIENT_SECRET: &str = "secret-of-the-tests";

/// A process of it.
struct Issuer {
    child: Child,
    url: String,
}

impl Issuer {
    /// One that knows the service, and people by their names and claims.
    async fn start(address: SocketAddr, service: &Service, people: &Value) -> Self {
        let back = [service.api, service.ops].map(|place| format!("http://{place}/console/sign-in/callback"));
        let client = json!({"client_id": CLIENT, "client_secret": CLIENT_SECRET, "redirect_uris": back});
        let child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/console/issuer.mjs"))
            .arg(modules())
            .args([address.port().to_string(), json!({"client": client, "people": people}).to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let issuer = Self { child, url: format!("http://{address}") };
        let _ = rustls::crypto::ring::default_provider().install_default();
        eventually("the issuer responds", async || reqwest::get(format!("{}/jwks", issuer.url)).await.ok()).await;
        issuer
    }

    /// Signs in there, as a browser does; returns where it is sent back to.
    async fn sign_in(&self, browser: &Browser, place: &str, name: &str) -> Url {
        assert!(place.starts_with(&self.url), "{place}");
        let mut kept = BTreeMap::new();
        let page = self.next(browser, Method::GET, place, "", &mut kept).await;
        let form = format!("prompt=login&login={name}&password=any");
        let signed_in = self.next(browser, Method::POST, &page, &form, &mut kept).await;
        let back = self.next(browser, Method::GET, &signed_in, "", &mut kept).await;
        back.parse().unwrap_or_else(|error| panic!("{back}: {error}"))
    }

    /// Where a request leads to, with the cookies of those before.
    async fn next(
        &self,
        browser: &Browser,
        method: Method,
        place: &str,
        form: &str,
        kept: &mut BTreeMap<String, String>,
    ) -> String {
        let place = Url::parse(&self.url).unwrap().join(place).unwrap();
        let sent = kept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let request = browser.client.request(method, place).header("cookie", sent);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await.unwrap();
        kept.extend(cookies(&response));
        location(&response)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modules() -> std::path::PathBuf {
    local_folder().join("node/node_modules")
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

/// None where the issuer cannot be had.
async fn start(people: Value) -> Option<(Issuer, World, Service)> {
    if !modules().join("oidc-provider").is_dir() {
        not_run("oidc-provider is not there (make test installs it)");
        return None;
    }
    let address = free_address();
    let (world, service) = served_with(address).await;
    Some((Issuer::start(address, &service, &people).await, world, service))
}

/// A service whose people sign in by the issuer at this address.
async fn served_with(address: SocketAddr) -> (World, Service) {
    let mut world = World::new(1).await;
    world.set_all([
        ("ANALYTICS__CONSOLE__OIDC_ALLOW_HTTP".to_owned(), "true".to_owned()),
        ("ANALYTICS__CONSOLE__OIDC_CLIENT_ID".to_owned(), CLIENT.to_owned()),
        ("ANALYTICS__CONSOLE__OIDC_CLIENT_SECRET".to_owned(), CLIENT_SECRET.to_owned()),
        ("ANALYTICS__CONSOLE__OIDC_NAME".to_owned(), "Company <login>".to_owned()),
        ("ANALYTICS__CONSOLE__OIDC_ISSUER".to_owned(), format!("http://{address}")),
    ]);
    let service = world.serve().await;
    (world, service)
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_nobody_up_for_long() {
    // Connections are accepted and nothing is ever sent.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_world, service) = served_with(silent.local_addr().unwrap()).await;
    let began = std::time::Instant::now();
    let tries = (0..12).map(|_| {
        let browser = Browser::new(&service, ConsolePort::Api);
        async move { location(&browser.request(Method::GET, "/console/sign-in/issuer").send().await.unwrap()) }
    });
    for place in futures_util::future::join_all(tries).await {
        assert_eq!(place, "/console/sign-in?failed=away&return=%2Fconsole%2F");
    }
    // One reading, not one for each of them.
    assert!(began.elapsed() < bound(std::time::Duration::from_secs(9)), "{:?}", began.elapsed());
}

#[tokio::test]
async fn somebody_signs_in_by_an_issuer() {
    let org = Uuid::new_v4();
    let people = json!({"ann": {"org_ids": [org], "roles": ["org_admin", "astronaut"]}});
    let Some((issuer, _world, service)) = start(people).await else { return };
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
    let Some((issuer, _world, service)) = start(json!({})).await else { return };
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
    // Only operators on the operations port.
    let people = json!({"op": {"roles": ["operator"]}});
    let Some((mut issuer, _world, service)) = start(people).await else { return };
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

#[tokio::test]
async fn somebody_signs_in_from_the_page_of_the_console() {
    let org = Uuid::new_v4();
    let people = json!({"ann": {"org_ids": [org], "roles": ["org_admin"]}});
    let Some((issuer, _world, service)) = start(people).await else { return };
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    browser.open(&format!("http://{}/console/usage?by=model", service.api)).await;
    browser.shown("a[href*=\"/console/sign-in/issuer\"]").await.click().await.unwrap();
    // The issuer's own page.
    let name = browser.shown("input[name=login]").await;
    assert!(browser.client.current_url().await.unwrap().as_str().starts_with(&issuer.url));
    name.send_keys("ann").await.unwrap();
    browser.shown("input[name=password]").await.send_keys(&format!("any{}", &Key::Enter)).await.unwrap();
    browser.shown("nav").await;
    let page = browser.client.current_url().await.unwrap();
    assert_eq!((page.path(), page.host_str()), ("/console/usage", Some("127.0.0.1")));
    let query: BTreeMap<_, _> = page.query_pairs().collect();
    assert_eq!(query.get("by").map(|by| &**by), Some("model"), "{page}");
    browser.says("ann").await;
    let mut complaints = browser.complaints(&EXPECTED).await;
    // The issuer's pages have some of their own.
    complaints.retain(|text| text.contains(&service.api.to_string()));
    assert_eq!(complaints, Vec::<String>::new());
}
