//! What is in a file: the API's answers and the raw events, to the last decimal.

use std::{collections::BTreeMap, process::Command};

use analytics_service::auth::Role;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use reqwest::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ORG, Store, download, fetch, id, link, made, path, records};
use crate::harness::{LocalStore, Service, Totals, not_run, settled};

const MODELS: u128 = 5;

/// Events of 31 days, with costs that no float could add up.
fn events(now: DateTime<Utc>, n: u64) -> Vec<Value> {
    let statuses = ["success", "success", "error", "timeout", "throttled"];
    let event = |n: u64| {
        let ago = TimeDelta::minutes(i64::try_from(n * 7919 % (31 * 24 * 60)).unwrap());
        json!({
            "eventId": Uuid::from_u128(n.into()), "orgId": ORG, "modelId": Uuid::from_u128(u128::from(n) % MODELS),
            "clientId": match n % 6 { 0 | 3 => "=cmd()|' /C calc'!A0", 1 => "a;=1+1;@b\t+c|-d", _ => "web" },
            "occurredAt": now - ago, "status": statuses[usize::try_from(n % 5).unwrap()],
            "errorCode": if n % 5 == 2 { Some("=2+5") } else { None },
            "latencyMs": n * n % 90_000, "inputTokens": n % 1000, "outputTokens": n % 333,
            "costEstimateCents": serde_json::from_str::<Value>(&format!("{}.{:04}", n * 31 % 9000, n % 10_000)).unwrap(),
        })
    };
    (0..n).map(event).collect()
}

async fn answer(service: &Service, what: &str) -> Value {
    let token = service.token(&[ORG], &[Role::OrgAdmin]);
    let (status, answer) = service.get(&format!("/analytics/v1/orgs/{ORG}/{what}"), &token).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn decimal(value: &Value) -> Decimal {
    value.to_string().parse().unwrap()
}

#[tokio::test]
async fn an_hourly_month_matches_api_and_events() {
    for store in Store::both() {
        let world = store.world().await;
        let service = world.serve().await;
        let mut conn = world.connect().await;
        let now = Utc::now();
        world.send(events(now, 6000).iter().map(|event| event.to_string().into_bytes())).await;
        settled(&mut conn, 6000).await;
        let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap();
        let (start, end) = (hour - TimeDelta::days(31), hour);
        let range = json!({ "start": start, "end": end });
        let job = made(&service, ORG, &json!({ "timeRange": range, "granularity": "hourly" })).await;
        let file = download(&service, ORG, &job).await;
        let rows = records(&file);
        assert_eq!(
            rows[0].join(","),
            "org_id,model_id,bucket_start,granularity,invocations,errors,error_rate,input_tokens,output_tokens,\
             cost_estimate_cents,latency_p50_ms,latency_p95_ms,latency_p99_ms"
        );
        assert_eq!(job["rowCount"], rows.len() - 1);
        // Row by row what the API says of the same hours and models.
        let asked = format!(
            "granularity=hour&groupBy=model&start={}&end={}",
            start.format("%Y-%m-%dT%H:%M:%SZ"),
            end.format("%Y-%m-%dT%H:%M:%SZ")
        );
        let usage = answer(&service, &format!("usage?{asked}")).await;
        let reliability = answer(&service, &format!("reliability?{asked}")).await;
        let key = |point: &Value| {
            (point["bucketStart"].as_str().unwrap().to_owned(), point["modelId"].as_str().unwrap().to_owned())
        };
        let quality: BTreeMap<_, _> =
            reliability["series"].as_array().unwrap().iter().map(|point| (key(point), point)).collect();
        let expected: Vec<Vec<String>> = usage["series"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| {
                let quality = quality[&key(point)];
                let (bucket, model) = key(point);
                let mut row = vec![ORG.to_string(), model, bucket, "hourly".to_owned()];
                row.extend([&point["invocations"], &quality["errors"], &quality["errorRate"]].map(Value::to_string));
                row.extend(
                    [&point["inputTokens"], &point["outputTokens"], &point["costEstimateCents"]].map(Value::to_string),
                );
                row.extend(["p50", "p95", "p99"].map(|percentile| quality["latencyMs"][percentile].to_string()));
                row
            })
            .collect();
        assert_eq!(rows.len() - 1, expected.len());
        for (row, expected) in rows[1..].iter().zip(&expected) {
            assert_eq!(row, expected);
        }
        // And in all what raw events add up to.
        let totals = &job["totals"];
        let raw: (i64, i64, i64, Decimal) = sqlx::query_as(
            "SELECT count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents)
             FROM analytics.usage_events WHERE occurred_at >= $1 AND occurred_at < $2",
        )
        .bind(start)
        .bind(end)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        let found = Totals {
            invocations: totals["invocations"].as_i64().unwrap(),
            input_tokens: totals["inputTokens"].as_i64().unwrap(),
            output_tokens: totals["outputTokens"].as_i64().unwrap(),
            cost: decimal(&totals["costEstimateCents"]),
        };
        assert_eq!((found.invocations, found.input_tokens, found.output_tokens, found.cost), raw);
        let costs: Decimal = rows[1..].iter().map(|row| row[9].parse::<Decimal>().unwrap()).sum();
        assert_eq!(costs, raw.3);
        // It can be relied on, and one that was requested by days has the same sums.
        let (status, checked) = service
            .post(&path(ORG, &format!("/{}/verify", id(&job))), &super::finance(&service, ORG), Vec::new())
            .await;
        assert_eq!((status, &checked["holds"], &checked["verdict"]), (StatusCode::OK, &json!(true), &json!("same")));
        let daily = made(&service, ORG, &json!({ "timeRange": super::days(29) })).await;
        let hourly = made(
            &service,
            ORG,
            &json!({ "timeRange": super::days(29), "granularity": "hourly", "delivery": {"type": "s3"} }),
        )
        .await;
        assert_eq!(daily["totals"], hourly["totals"]);
        let nobody =
            made(&service, ORG, &json!({ "timeRange": range, "granularity": "hourly", "models": [Uuid::max()] })).await;
        assert_eq!((&nobody["rowCount"], records(&download(&service, ORG, &nobody).await).len()), (&json!(0), 1));
        links(&service, &job, &daily).await;
    }
}

/// A link opens its own file, and nothing else does.
async fn links(service: &Service, job: &Value, other: &Value) {
    let good = link(service, ORG, id(job)).await.unwrap();
    assert_eq!(fetch(&good).await.0, StatusCode::OK);
    let changed = |at: usize| {
        let mut link: Vec<char> = good.chars().collect();
        link[at] = if link[at] == '0' { '1' } else { '0' };
        link.into_iter().collect::<String>()
    };
    for at in [
        good.len() - 1,
        good.to_lowercase().find("signature=").unwrap() + 10,
        good.to_lowercase().find("expires=").unwrap() + 8,
    ] {
        let (status, body) = fetch(&changed(at)).await;
        assert!(status.is_client_error(), "{at}: {status}");
        assert!(!String::from_utf8_lossy(&body).contains("cost_estimate"), "{at}");
    }
    let foreign = good.replace(&id(job).to_string(), &id(other).to_string());
    assert!(fetch(&foreign).await.0.is_client_error());
    let part = reqwest::Client::new().get(&good).header("range", "bytes=0-5").send().await.unwrap();
    assert_eq!((part.status(), part.text().await.unwrap().as_str()), (StatusCode::PARTIAL_CONTENT, "org_id"));
}

#[tokio::test]
async fn an_incident_has_clients_codes_and_no_formulas() {
    let store = Store::Local(LocalStore::new());
    let world = store.world().await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let now = Utc::now();
    world.send(events(now, 3000).iter().map(|event| event.to_string().into_bytes())).await;
    settled(&mut conn, 3000).await;
    for (group_by, column, shown) in
        [("client", "client_id", "'=cmd()|' /C calc'!A0"), ("errorCode", "error_code", "'=2+5")]
    {
        let request = json!({ "timeRange": super::days(6), "granularity": "hourly", "groupBy": group_by });
        let job = made(&service, ORG, &request).await;
        let file = download(&service, ORG, &job).await;
        let rows = records(&file);
        assert_eq!(rows[0].last().unwrap(), column);
        assert!(rows[1..].iter().any(|row| row.last().unwrap() == shown));
        assert!(rows[1..].iter().all(|row| !row.last().unwrap().starts_with('=')));
        python(&file, &job);
        assert!(column == "error_code" || String::from_utf8_lossy(&file).contains("a;"), "it has separators in a text");
        spreadsheet(&file, &job, shown);
    }
}

/// Opens the file as a spreadsheet does, and adds up what that has made of it.
fn spreadsheet(file: &[u8], job: &Value, shown: &str) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::write(place("export.csv"), file).unwrap();
    let opened = Command::new("soffice")
        .arg(format!("-env:UserInstallation=file://{}", place("profile").display()))
        .args(["--headless", "--convert-to", "fods", "--outdir"])
        .args([folder.path(), &place("export.csv")])
        .output();
    if opened.is_err() || !place("export.fods").exists() {
        return not_run("there is no LibreOffice Calc (soffice) here: no file is opened as a spreadsheet");
    }
    let script = include_str!("spreadsheet.py");
    let Ok(output) = Command::new("python3").args(["-c", script]).arg(place("export.fods")).output() else {
        return not_run("there is no python3 here: the spreadsheet is not added up");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sums["rows"], &sums["formulas"]), (&job["rowCount"], &json!(0)));
    assert_eq!(sums["invocations"], job["totals"]["invocations"]);
    let cost: Decimal = sums["cost"].as_str().unwrap().parse().unwrap();
    assert_eq!(cost, decimal(&job["totals"]["costEstimateCents"]));
    assert!(sums["texts"].as_array().unwrap().contains(&json!(shown)), "{sums}");
}

/// Reads the file by another language's library, and adds it up.
fn python(file: &[u8], job: &Value) {
    const SUMS: &str = "import csv, decimal, json, sys
for other in ';\\t|':
    for row in csv.reader(open(sys.argv[1], newline='', encoding='utf-8'), delimiter=other):
        formulas = [cell for cell in row if cell[:1] in tuple('=+-@')]
        assert not formulas, (other, formulas)
rows = list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))
print(json.dumps({'rows': len(rows), 'invocations': sum(int(r['invocations']) for r in rows),
                  'cost': str(sum(decimal.Decimal(r['cost_estimate_cents']) for r in rows))}))";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.csv");
    std::fs::write(&path, file).unwrap();
    let Ok(output) = Command::new("python3").args(["-c", SUMS]).arg(&path).output() else {
        return not_run("there is no python3 here: no file is added up by its csv module");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sums["rows"], &sums["invocations"]), (&job["rowCount"], &job["totals"]["invocations"]));
    let cost: Decimal = sums["cost"].as_str().unwrap().parse().unwrap();
    assert_eq!(cost, decimal(&job["totals"]["costEstimateCents"]));
}
