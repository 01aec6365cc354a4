//! The console's pages and files, on both ports.

use std::collections::BTreeSet;

use actix_web::{http::Method, test};

use super::support::*;
use crate::http::{Api, Ops, ops};

/// A GET on the API's port.
async fn page(path: &str, headers: &[(&str, &str)]) -> Response {
    call(api_with(None), Method::GET, path, headers).await
}

/// On the operations port.
async fn ops_page(state: Ops, path: &str) -> Response {
    let app = test::init_service(ops(state)).await;
    read(test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await).await
}

/// The value of an attribute of the page's root.
fn data(page: &Response, name: &str) -> String {
    let (_, rest) = page.text.split_once(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("{}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Where the page's files are.
fn base(page: &Response) -> String {
    let (_, rest) = page.text.split_once("/console/assets/").unwrap_or_else(|| panic!("{}", page.text));
    let hash: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    format!("/console/assets/{hash}")
}

#[actix_web::test]
async fn every_path_of_the_console_is_its_page() {
    for path in ["/console/", "/console/usage?by=model", "/console/dead-letters/1", "/console/no-such-page"] {
        let page = page(path, &[]).await;
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, Some("no-store")), "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(!page.text.contains("{{"), "{}", page.text);
        assert_eq!(data(&page, "port"), "api");
        assert_eq!(data(&page, "version"), env!("CARGO_PKG_VERSION"));
        let other = ops_page(operations(None, false), path).await;
        assert_eq!(data(&other, "port"), "operations");
        assert_eq!(other.header("content-security-policy"), page.header("content-security-policy"));
    }
    let slash = page("/console", &[]).await;
    assert_eq!((slash.status.as_u16(), slash.header("location")), (308, Some("/console/")));
    page("/consoles", &[]).await.problem(404);
}

#[actix_web::test]
async fn everything_below_the_console_has_its_headers() {
    for (method, path, status) in [
        (Method::GET, "/console", 308),
        (Method::GET, "/console/", 200),
        (Method::GET, "/%63onsole/", 200),
        (Method::GET, "/console/assets/x/no-such-file.js", 404),
        (Method::DELETE, "/console/", 405),
    ] {
        let response = call(api_with(None), method, path, &[]).await;
        assert_eq!(response.status.as_u16(), status, "{path}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'; require-trusted-types-for 'script'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("  "), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.header(name), Some(value), "{path}");
        }
        assert!(response.header("permissions-policy").unwrap().contains("camera=()"));
    }
    assert_eq!(get("/openapi.json").await.header("content-security-policy"), None);
}

#[actix_web::test]
async fn files_are_kept_for_ever_under_their_hash() {
    let index = page("/console/", &[]).await;
    let base = base(&index);
    assert_eq!(base.len(), "/console/assets/".len() + 20);
    page(&format!("{base}/js/no-such-file.js"), &[]).await.problem(404);
    for name in files() {
        let place = format!("{base}/{name}");
        let file = page(&place, &[]).await;
        assert_eq!(file.status.as_u16(), 200, "{place}");
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let other = page(&format!("/console/assets/0/{name}"), &[]).await;
        assert_eq!((other.status.as_u16(), other.header("cache-control")), (200, Some("no-store")));
        assert_eq!(other.text, file.text);
    }
}

#[actix_web::test]
async fn nothing_else_of_the_disk_is_served() {
    for path in [
        "/console/assets",
        "/console/assets/",
        "/console/assets/0",
        "/console/assets/0/",
        "/console/assets/0/index.html",
        "/console/assets/0/../index.html",
        "/console/assets/0/..%2f..%2fCargo.toml",
        "/console/assets/0/%2e%2e/%2e%2e/Cargo.toml",
        "/console/assets/0//etc/passwd",
        "/console/assets/0/vendor/VENDORED.toml",
    ] {
        let response = page(path, &[]).await;
        assert!(!response.text.contains("[package]") && !response.text.contains("root:"), "{path}");
        if path.starts_with("/console/assets/") {
            response.problem(404);
        }
    }
}

#[actix_web::test]
async fn a_console_that_is_switched_off_is_not_there() {
    for path in ["/console", "/console/", "/console/usage", "/console/assets/0/js/app.js"] {
        let api = Api { console: None, ..api_with(None) };
        call(api, Method::GET, path, &[]).await.problem(404);
        ops_page(Ops { console: None, ..operations(None, false) }, path).await.problem(404);
    }
}

/// Texts of `console/` that are served.
fn files() -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| ["css", "js", "svg"].iter().any(|known| end == *known)) {
                found.insert(path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found
}
