//! What other pages, and whoever sends anything, can do with a session: nothing.

use analytics_service::{auth::Role, domain::console::ConsolePort};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::Browser;
use crate::harness::{World, eventually};

#[tokio::test]
async fn requests_of_other_pages_are_as_without_a_credential() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__CORS_ORIGINS", "https://dashboards.example.org");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let mut browser = Browser::new(&service, ConsolePort::Api);
    let token = service.token(&[org], &[Role::OrgAdmin, Role::Finance]);
    assert_eq!(browser.sign_in(&json!({"token": token})).await.0, 204);
    let keys = format!("/analytics/v1/orgs/{org}/api-keys");
    let body = json!({"name": "planted", "role": "org_admin"}).to_string();
    let send = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| -> StatusCode {
        let mut request = browser.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_owned()).send().await.unwrap().status()
    };
    let json = ("content-type", "application/json");
    // A form, an image, a link, a script of another port of the same host, of another site, of a frame without an origin.
    for (method, headers) in [
        (Method::GET, vec![]),
        (Method::GET, vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")]),
        (Method::GET, vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
        (Method::GET, vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]),
        (Method::GET, vec![("sec-fetch-site", "same-site"), ("x-console", "1")]),
        (Method::POST, vec![json]),
        (Method::POST, vec![json, ("sec-fetch-site", "same-origin")]),
        (
            Method::POST,
            vec![json, ("sec-fetch-site", "same-site"), ("x-console", "1"), ("origin", "http://127.0.0.1:1")],
        ),
        (Method::POST, vec![json, ("sec-fetch-site", "cross-site"), ("x-console", "1"), ("origin", "null")]),
        (Method::POST, vec![("content-type", "text/plain"), ("x-console", "1")]),
        (Method::POST, vec![("content-type", "application/x-www-form-urlencoded"), ("x-console", "1")]),
    ] {
        let body = if method == Method::POST { body.as_str() } else { "" };
        assert_eq!(send(method.clone(), &keys, &headers, body).await, 401, "{method} {headers:?}");
    }
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM analytics.api_keys")
        .fetch_one(&mut world.connect().await)
        .await
        .unwrap();
    assert_eq!(made, 0);
    // Its own pages.
    let own = [("sec-fetch-site", "same-origin"), ("x-console", "1"), json];
    assert_eq!(send(Method::POST, &keys, &own, &body).await, 201);
    assert_eq!(send(Method::GET, &keys, &own[..1], "").await, 200, "a plain link");
    // Not even an origin that may read the API with a token may add the mark.
    let preflight = [
        ("origin", "https://dashboards.example.org"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-console"),
    ];
    let mut request = browser.request(Method::OPTIONS, &keys);
    for (name, value) in preflight {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let allowed =
        response.headers().get("access-control-allow-headers").map(|value| value.to_str().unwrap().to_owned());
    assert!(!allowed.unwrap_or_default().to_lowercase().contains("x-console"));
    assert!(response.headers().get("access-control-allow-credentials").is_none());
    eventually("the refusals are recorded", async || {
        let recorded: Option<String> = sqlx::query_scalar(
            "SELECT detail FROM analytics.audit_events WHERE action = 'authenticate' AND detail LIKE '%none of the console%'",
        )
        .fetch_optional(&mut world.connect().await)
        .await
        .unwrap();
        recorded.map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn no_other_page_signs_somebody_in_or_out() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let token = service.token(&[Uuid::new_v4()], &[Role::OrgViewer]);
    let mut browser = Browser::new(&service, ConsolePort::Api);
    assert_eq!(browser.sign_in(&json!({"token": token})).await.0, 204);
    let body = json!({"token": token}).to_string();
    for headers in [
        vec![],
        vec![("sec-fetch-site", "same-origin")],
        vec![("x-console", "1"), ("sec-fetch-site", "same-site")],
        vec![("x-console", "1"), ("sec-fetch-site", "none")],
        vec![("x-console", "yes")],
    ] {
        for path in ["/console/sign-in", "/console/sign-out"] {
            let mut request = browser.request(Method::POST, path).header("content-type", "application/json");
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let response = request.body(body.clone()).send().await.unwrap();
            assert_eq!(response.status(), 403, "{path} {headers:?}");
            assert!(response.headers().get("set-cookie").is_none());
        }
    }
    let form = browser.request(Method::POST, "/console/sign-in").header("x-console", "1");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"));
    assert_eq!(form.send().await.unwrap().status(), 415);
    assert_eq!(browser.request(Method::GET, "/console/sign-out").send().await.unwrap().status(), 405);
    assert_eq!(browser.me().await, 200);
}

#[tokio::test]
async fn a_page_is_in_no_frame_however_its_path_is_written() {
    let world = World::new(1).await;
    let service = world.serve().await;
    for port in [ConsolePort::Api, ConsolePort::Operations] {
        let browser = Browser::new(&service, port);
        for path in ["/console/", "/%63onsole/", "/c%6Fnsole/usage", "/%63onsole/assets/x/js/app.js"] {
            let page = browser.request(Method::GET, path).send().await.unwrap();
            let policy = page.headers().get("content-security-policy").map(|value| value.to_str().unwrap());
            let served = page.status() == 200;
            assert!(!served || policy.is_some_and(|policy| policy.contains("frame-ancestors 'none'")), "{path}");
        }
    }
}

#[tokio::test]
async fn a_cookie_beside_a_credential_is_ignored() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut browser = Browser::new(&service, ConsolePort::Api);
    assert_eq!(browser.sign_in(&json!({"token": service.token(&[org], &[Role::OrgAdmin])})).await.0, 204);
    let with = async |token: &str, org: Uuid| {
        let path = format!("/analytics/v1/orgs/{org}/usage?start=2026-01-01&end=2026-01-02");
        let request = browser.request(Method::GET, &path).header("x-console", "1").bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let viewer = service.token(&[other], &[Role::OrgViewer]);
    assert_eq!([with(&viewer, org).await, with(&viewer, other).await, with("junk", org).await], [403, 200, 401]);
}

#[tokio::test]
async fn cookies_of_any_form_are_refused() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let mut good = Browser::new(&service, ConsolePort::Api);
    assert_eq!(good.sign_in(&json!({"token": service.token(&[], &[Role::SystemAdmin])})).await.0, 204);
    let mut browser = good.clone();
    for cookie in [
        "__Host-analytics-console".to_owned(),
        "__Host-analytics-console=".to_owned(),
        format!("{}A", good.cookie),
        good.cookie[..good.cookie.len() - 1].to_owned(),
        format!("{0}; {0}", good.cookie),
        format!("__Host-analytics-console=x; {}", good.cookie),
        good.cookie.to_uppercase(),
        good.cookie.replace("__Host-", ""),
        format!("__Host-analytics-console={}", "A".repeat(20_000)),
        "__Host-analytics-console=' OR true --".to_owned(),
        ";".repeat(5000),
    ] {
        browser.cookie = cookie.clone();
        assert_eq!(browser.me().await, 401, "{}", &cookie[..cookie.len().min(80)]);
    }
    browser.cookie = format!("a=b;{};c=d", good.cookie);
    assert_eq!(browser.me().await, 200);
}
