//! Reliability, ledger and summary against raw events; requests that nobody waits for; answers with the database away.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    fault_away::is_down,
    harness::{AT_ONCE, LedgerSums, LocalStore, Service, Stopped, World, bound, eventually, responded, sent, settled},
};

const ERROR: f64 = 0.025;

async fn ask(service: &Service, token: &str, path: &str) -> Value {
    let (status, answer) = service.get(path, token).await;
    assert_eq!(status, 200, "{path} {answer}");
    answer
}

/// The exact nearest-rank percentiles of an org's events, by a column or for all.
async fn exact(conn: &mut PgConnection, org: Uuid, by: &str) -> Vec<(Option<String>, i64, Vec<i32>)> {
    let exact = format!(
        "SELECT {by}, count(*), percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms)
         FROM analytics.usage_events WHERE org_id = $1 GROUP BY 1"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(exact)).bind(org).fetch_all(conn).await.unwrap()
}

fn assert_close(figures: &Value, exact: &[i32]) {
    for (name, exact) in ["p50", "p95", "p99"].into_iter().zip(exact) {
        let (found, exact) = (figures["latencyMs"][name].as_f64().unwrap(), f64::from(*exact));
        assert!((found - exact).abs() <= exact * ERROR, "{name}: {found} for {exact}");
    }
}

#[tokio::test]
async fn percentiles_of_the_trace_are_close() {
    let world = World::new(1).await;
    let service = world.serve().await;
    // A state folder of its own: its dates are recent, however old the stack is.
    let state = tempfile::tempdir().unwrap();
    let trace = ["--trace", "data/azure-llm-2023-conv.csv", "--state-dir", state.path().to_str().unwrap()];
    let report = world.publish(&trace).await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let day = report["firstOccurredAt"].as_str().unwrap()[..10].to_owned();
    for org in report["orgs"].as_array().unwrap() {
        let org: Uuid = org["orgId"].as_str().unwrap().parse().unwrap();
        let token = service.token(&[org], &[Role::OrgViewer]);
        let path = |more: &str| {
            format!("/analytics/v1/orgs/{org}/reliability?start={day}T00:00:00Z&end={day}T23:59:59Z{more}")
        };
        let all = &exact(&mut conn, org, "NULL::text").await[0];
        for more in
            ["", "&granularity=hour", "&granularity=hour&groupBy=model", "&timezone=Asia/Kolkata", "&groupBy=client"]
        {
            let totals = &ask(&service, &token, &path(more)).await["totals"];
            assert_eq!(totals["invocations"], all.1, "{more}");
            assert_close(totals, &all.2);
        }
        for (by, column, name) in [
            ("model", "model_id::text", "modelId"),
            ("client", "client_id", "clientId"),
            ("errorCode", "error_code", "errorCode"),
        ] {
            let answer = ask(&service, &token, &path(&format!("&groupBy={by}&percentile=p99"))).await;
            let series = answer["series"].as_array().unwrap();
            let groups = exact(&mut conn, org, column).await;
            assert_eq!(series.len(), groups.len(), "{by}");
            for (label, events, latencies) in groups {
                let point = series.iter().find(|point| point[name] == json!(label)).unwrap();
                assert_eq!(point["invocations"], events);
                assert_close(point, &latencies);
            }
            let worst = series.iter().map(|point| point["latencyMs"]["p99"].as_f64().unwrap()).fold(0.0, f64::max);
            assert_eq!(answer["highlight"]["worst"]["latencyMs"], worst);
        }
    }
}

#[tokio::test]
async fn ledger_and_summary_are_what_was_published() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let flaws = ["--duplicates", "0.05", "--late", "0.05", "--invalid", "0.02"];
    let report = world.publish(&[&["--events", "4000", "--orgs", "5", "--models", "3"][..], &flaws].concat()).await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let now = chrono::Utc::now();
    let time = |hours: i64| (now + chrono::TimeDelta::hours(hours)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut sums = LedgerSums::default();
    for org in report["orgs"].as_array().unwrap() {
        let org: Uuid = org["orgId"].as_str().unwrap().parse().unwrap();
        let token = service.token(&[org], &[Role::Finance]);
        let path = format!("/analytics/v1/orgs/{org}/ledger?start={}&end={}", time(-24), time(1));
        let answer = ask(&service, &token, &path).await;
        let totals = &answer["totals"];
        assert_eq!(totals["balanced"], true);
        let text = answer.to_string();
        assert!(!text.to_lowercase().contains("offset") && !text.contains("partition"), "{text}");
        let of = |name: &str| totals[name].as_i64().unwrap();
        sums.received += of("received");
        sums.stored += of("stored");
        sums.duplicates += of("duplicates");
        sums.rejected += of("rejected");
    }
    let all = LedgerSums::of_batches(&mut conn).await;
    // Messages whose org cannot be read are no org's.
    assert_eq!((sums.stored, sums.duplicates), (all.stored, all.duplicates));
    assert!(sums.rejected <= all.rejected && sums.received == sums.stored + sums.duplicates + sums.rejected);

    let named: Uuid = report["orgs"][3]["orgId"].as_str().unwrap().parse().unwrap();
    let naming = service.token(&[named], &[Role::OrgAdmin]);
    let name = format!("/analytics/v1/orgs/{named}/names/orgId/{named}");
    assert_eq!(service.put(&name, &naming, br#"{"name": "Example Ltd"}"#.to_vec()).await.0, 200);
    let range = format!("start={}&end={}", time(-24 * 30), time(1));
    let orgs = all_of_summary(&service, &format!("{range}&limit=2")).await;
    let names: Vec<_> = orgs.iter().filter(|org| org["name"] == "Example Ltd").map(|org| &org["orgId"]).collect();
    assert_eq!(names, [&serde_json::json!(named)]);
    for order in ["cost", "invocations", "inputTokens", "outputTokens"] {
        let field = if order == "cost" { "costEstimateCents" } else { order };
        let ordered = all_of_summary(&service, &format!("{range}&limit=2&orderBy={order}")).await;
        let amounts: Vec<f64> = ordered.iter().map(|org| org[field].as_f64().unwrap()).collect();
        assert!(amounts.is_sorted_by(|a, b| a >= b), "{order}: {amounts:?}");
        assert_eq!(ordered.len(), orgs.len());
    }
    for published in report["orgs"].as_array().unwrap() {
        let org = orgs.iter().find(|org| org["orgId"] == published["orgId"]).unwrap();
        for name in ["invocations", "inputTokens", "outputTokens", "costEstimateCents"] {
            assert_eq!(org[name], published["totals"][name], "{name}");
        }
    }
}

/// The orgs of all pages. Those of each page and of the pages before, and the rest, add up to the totals.
async fn all_of_summary(service: &Service, query: &str) -> Vec<Value> {
    let admin = service.token(&[Uuid::nil()], &[Role::SystemAdmin]);
    let mut orgs: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ask(service, &admin, &format!("/analytics/v1/summary?{query}{cursor}")).await;
        orgs.extend(page["orgs"].as_array().unwrap().clone());
        assert_eq!(page["orgCount"].as_u64().unwrap(), orgs.len() as u64 + page["other"]["orgs"].as_u64().unwrap());
        for name in ["invocations", "inputTokens", "outputTokens"] {
            let shown: u64 = orgs.iter().map(|org| org[name].as_u64().unwrap()).sum();
            let rest = page["other"]["totals"][name].as_u64().unwrap();
            assert_eq!(shown + rest, page["totals"][name].as_u64().unwrap(), "{name}");
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break orgs,
        }
    }
}

#[tokio::test]
async fn unchanged_responses_are_304_and_others_compressed() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--orgs", "1", "--models", "3"]).await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let org: Uuid = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let token = service.token(&[org], &[Role::OrgViewer]);
    let day = &report["firstOccurredAt"].as_str().unwrap()[..10];
    let url = format!(
        "http://{}/analytics/v1/orgs/{org}/usage?start={day}T00:00:00Z&end={day}T23:59:59Z&granularity=hour&fill=zero",
        service.api
    );
    let get = async |name: &str, value: &str| {
        let send = async || {
            let request = reqwest::Client::new().get(&url).bearer_auth(&token).header(name, value);
            let response = request.send().await.unwrap();
            (response.status(), response)
        };
        responded(send).await.1
    };
    let header = |answer: &reqwest::Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let first = get("accept-encoding", "identity").await;
    let (tag, as_of) = (header(&first, "etag"), header(&first, "analytics-as-of"));
    let plain = first.bytes().await.unwrap();
    // A quiet stream's watermark moves on; the facts do not.
    eventually("the answer is complete up to a later moment", async || {
        let again = get("if-none-match", &tag).await;
        assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.clone()));
        (header(&again, "analytics-as-of") > as_of).then_some(())
    })
    .await;
    let packed = get("accept-encoding", "gzip").await;
    assert_eq!(header(&packed, "content-encoding"), "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() * 2 < plain.len(), "{} of {} bytes", packed.len(), plain.len());
    let more = world.publish(&["--events", "500", "--orgs", "1", "--models", "3"]).await;
    assert_eq!(more["orgs"][0]["orgId"], report["orgs"][0]["orgId"]);
    settled(&mut conn, sent(&report) + sent(&more)).await;
    assert_eq!(get("if-none-match", &tag).await.status().as_u16(), 200);
}

#[tokio::test]
async fn an_abandoned_query_ends_in_the_database() {
    let mut world = World::new(1).await;
    for (key, value) in [("STATEMENT_TIMEOUT_MS", "600000"), ("WAIT_MS", "300"), ("ACTORS", "1"), ("CONNECTIONS", "1")]
    {
        world.set(&format!("ANALYTICS__QUERY__{key}"), value);
    }
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &[Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{org}/usage?start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z");
    assert_eq!(service.get(&path, &token).await.0, 200);
    let mut owner = world.connect_as_owner().await;
    let mut conn = world.connect().await;
    let asking = async |conn: &mut PgConnection| -> i64 {
        let active = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND state = 'active' AND query LIKE '-- Usage of an org%'
                        AND application_name LIKE 'analytics-service %'";
        sqlx::query_scalar(active).fetch_one(conn).await.unwrap()
    };
    sqlx::query("BEGIN").execute(&mut owner).await.unwrap();
    sqlx::query("LOCK TABLE analytics.daily_rollups IN ACCESS EXCLUSIVE MODE").execute(&mut owner).await.unwrap();

    let mut client = TcpStream::connect(service.api).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    eventually("the statement waits", async || (asking(&mut conn).await == 1).then_some(())).await;
    let busy = service.try_get(&path, &token).await;
    assert_eq!((busy.0.as_u16(), &busy.1["type"]), (503, &json!("/problems/busy")), "the one permit is taken");
    drop(client);
    let gone = Instant::now();
    eventually("the statement has ended", async || (asking(&mut conn).await == 0).then_some(())).await;
    eprintln!("a statement ended {:?} after its client had gone", gone.elapsed());
    assert!(gone.elapsed() < bound(Duration::from_secs(5)));
    sqlx::query("ROLLBACK").execute(&mut owner).await.unwrap();
    assert_eq!(service.get(&path, &token).await.0, 200, "the permit is back");
}

/// What a caller could ask, by the API's own description.
async fn every_request(service: &Service, org: Uuid) -> Vec<(String, String)> {
    let document = service.get("/openapi.json", "").await.1;
    let mut requests = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let mut path = path.replace("{orgId}", &org.to_string()).replace("{dimension}", "modelId");
        while let Some((head, tail)) = path.clone().split_once('{') {
            path = format!("{head}{}{}", Uuid::nil(), tail.split_once('}').unwrap().1);
        }
        for (method, operation) in methods.as_object().unwrap() {
            // What is required, and the end of a range: without it a range is up to now, which may be too long.
            let given = operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query");
            let query: Vec<String> = given
                .filter(|p| p["required"] == true || p["name"] == "end")
                .filter_map(|p| {
                    let example = p["example"].as_str().or_else(|| p["example"][0].as_str())?;
                    Some(format!("{}={example}", p["name"].as_str()?))
                })
                .collect();
            requests.push((method.clone(), format!("{path}?{}", query.join("&"))));
        }
    }
    requests
}

#[tokio::test]
async fn every_route_responds_without_a_database() {
    let (mut world, files) = (World::exclusive(1).await, LocalStore::new());
    world.set_all(files.variables());
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &Role::ALL);
    let requests = every_request(&service, org).await;
    assert!(requests.len() >= 14, "{requests:?}");
    let event = json!({
        "eventId": Uuid::new_v4(), "orgId": org, "modelId": Uuid::nil(), "occurredAt": chrono::Utc::now(),
        "status": "success", "latencyMs": 1, "inputTokens": 1, "outputTokens": 1, "costEstimateCents": 1,
    });
    let ask = async |method: &str, path: &str| {
        let asked = Instant::now();
        let body = match method {
            "put" => json!({"name": "any"}).to_string(),
            "post" => event.to_string(),
            _ => String::new(),
        };
        let method = method.to_ascii_uppercase().parse().unwrap();
        let (status, answer) = service.try_send(method, path, &token, body.into_bytes()).await;
        (status.as_u16(), answer, asked.elapsed())
    };
    let database = Stopped::server("postgres").await;
    eventually("the database is seen to be away", async || {
        is_down(&service.readiness().await?.1, "database").then_some(())
    })
    .await;
    let mut slowest = Duration::ZERO;
    for (method, path) in &requests {
        let (status, answer, took) = ask(method, path).await;
        slowest = slowest.max(took);
        let what = format!("{method} {path}: {status} {answer} after {took:?}");
        assert!(took < bound(AT_ONCE), "{what}");
        // What needs no database is answered; the rest says that it cannot be.
        let needs_none = ["/openapi.json", "/analytics/v1/me", "/analytics/v1/events", "/analytics/v1/downloads/"];
        let needs_none = needs_none.iter().any(|start| path.starts_with(start));
        assert!(needs_none || (status == 503 && answer["type"] == "/problems/unavailable"), "{what}");
        assert!(status < 500 || status == 503, "{what}");
    }
    eprintln!("{} routes; the slowest answered after {slowest:?}", requests.len());
    database.start().await;
    assert_eq!(service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &token).await.0, 200);
}
