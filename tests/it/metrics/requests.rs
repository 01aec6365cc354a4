//! What requests, queries and the process itself show.

use super::shown;
use crate::harness::{World, responded, sent, settled};
use analytics_service::auth::Role;

#[tokio::test]
async fn requests_and_the_process_are_shown() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "100", "--orgs", "1", "--models", "1"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let org = report["orgs"][0]["orgId"].as_str().unwrap().to_owned();
    let token = service.token(&[org.parse().unwrap()], &[Role::OrgViewer]);
    let before = service.scrape().await;
    assert_eq!(before.get("query_wait_seconds_count"), Some(0.0));
    let mut queries = 0.0;
    let (status, _) = responded(async || {
        queries += 1.0;
        service.try_get(&format!("/analytics/v1/orgs/{org}/freshness"), &token).await
    })
    .await;
    assert_eq!(status, 200);
    let scrape = shown(&service, "the request is over", |scrape| {
        scrape.get(r#"http_requests_in_flight{port="api"}"#) == Some(0.0)
            && scrape.get(r#"http_sent_bytes_total{port="api"}"#) > before.get(r#"http_sent_bytes_total{port="api"}"#)
            && scrape.get(r#"database_connections{state="idle"}"#) == Some(1.0)
    })
    .await;
    assert_eq!(scrape.get("query_wait_seconds_count"), Some(queries));
    assert_eq!(scrape.get(r#"database_connections{state="used"}"#), Some(0.0));
    // The scrape itself.
    assert_eq!(scrape.get(r#"http_requests_in_flight{port="operations"}"#), Some(1.0));
    let text = service.metrics().await;
    let route = r#"route="/analytics/v1/orgs/{orgId}/freshness",method="GET",status="200""#;
    for objective in ["0.25", "1"] {
        let bucket = text.lines().find(|line| {
            line.starts_with("analytics_http_request_seconds_bucket{")
                && line.contains(route)
                && line.contains(&format!("le=\"{objective}\""))
        });
        // How long it took is the machine's matter.
        assert!(bucket.is_some(), "{objective}\n{text}");
    }
    for probe in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert!(!text.contains(&format!("route=\"{probe}\"")), "{probe} is none of the API's");
    }
    for metric in ["end_to_end_seconds", "rollup_latency_seconds"] {
        for objective in ["1", "5"] {
            assert!(scrape.get(&format!("{metric}_bucket{{le=\"{objective}\"}}")).is_some(), "{metric} {objective}");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("analytics_build_info{{version=\"{version}\",revision=\"")), "{text}");
    assert!(scrape.get("process_resident_memory_bytes") > Some(1e7));
    assert!(
        scrape.get("process_open_fds") > Some(5.0) && scrape.get("process_open_fds") < scrape.get("process_max_fds")
    );
    assert!(scrape.get("process_cpu_seconds_total").is_some() && scrape.get("process_threads") > Some(5.0));
    let started = scrape.get("process_start_time_seconds").unwrap();
    let age = chrono::Utc::now().timestamp() as f64 - started;
    assert!((-2.0..600.0).contains(&age), "it started {age} s ago");
}
