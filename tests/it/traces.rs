//! Traces: what a real OTLP receiver gets, and what one that is away costs.

use std::time::{Duration, Instant};

use analytics_service::{
    auth::Role,
    domain::trace::{attribute as names, span},
};
use chrono::Utc;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    FLAWS, Load, OtlpReceiver, Proxy, Received, Service, TlsFront, World, assert_exact, attribute, bound, eventually,
    settled,
};

const EVENTS: &str = "/analytics/v1/events";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn event(org: Uuid) -> Value {
    json!({
        "eventId": Uuid::new_v4(), "orgId": org, "modelId": Uuid::from_u128(3), "occurredAt": Utc::now(),
        "status": "success", "latencyMs": 12, "inputTokens": 3, "outputTokens": 4, "costEstimateCents": 0.0001,
    })
}

/// A world that publishes over HTTP and sends its spans there.
async fn traced(endpoint: String, protocol: &str, ratio: &str) -> World {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__INGEST__ENABLED", "true");
    world.set("ANALYTICS__OTLP__PROTOCOL", protocol);
    world.set("ANALYTICS__OTLP__ENDPOINT", &endpoint);
    world.set("ANALYTICS__OTLP__SAMPLE_RATIO", ratio);
    world
}

async fn publish(service: &Service, org: Uuid, trace_parent: &str) -> u16 {
    let token = service.token(&[org], &[Role::Producer]);
    let request = service.request(Method::POST, EVENTS, &token).header("traceparent", trace_parent);
    let answer = request.json(&event(org)).send().await.unwrap();
    answer.status().as_u16()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one<'a>(received: &'a Received, name: &str) -> Option<&'a Span> {
    received.named(name).first().copied()
}

fn of(span: &Span, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

/// From the caller's span to the rollup: each span has its parent or its link, and the conventions' attributes.
async fn follows_an_event(protocol: &str) {
    let receiver = OtlpReceiver::start().await;
    let address = if protocol == "grpc" { receiver.grpc } else { receiver.http };
    let mut world = traced(format!("http://{address}"), protocol, "0").await;
    world.set("ANALYTICS__OTLP__HEADERS", "x-tenant=platform,authorization=Bearer something");
    let service = world.serve().await;
    let stream = world.settings.broker.stream.clone();
    assert_eq!(publish(&service, Uuid::new_v4(), CALLER).await, 202);
    let (process, published) = (format!("{} {stream}", span::PROCESS), format!("{} {stream}", span::PUBLISH));
    eventually("the merge's span has come", async || {
        let received = receiver.received();
        (one(&received, span::MERGE).is_some() && one(&received, &process).is_some()).then_some(())
    })
    .await;

    let mut conn = world.connect().await;
    let id: Uuid =
        sqlx::query_scalar("SELECT batch_id FROM analytics.ingestion_batches").fetch_one(&mut conn).await.unwrap();
    assert_eq!(service.terminate().await, Some(0));
    let received = receiver.received();
    let request = one(&received, "POST /analytics/v1/events").unwrap();
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(
        (hex(&request.trace_id), hex(&request.parent_span_id)),
        (CALLER[3..35].to_owned(), CALLER[36..52].to_owned())
    );
    assert_eq!(of(request, names::HTTP_REQUEST_METHOD).as_deref(), Some("POST"));
    assert_eq!(of(request, names::HTTP_ROUTE).as_deref(), Some(EVENTS));
    assert_eq!(of(request, names::HTTP_RESPONSE_STATUS_CODE).as_deref(), Some("202"));
    assert!(of(request, names::REQUEST_ID).is_some());

    let publish = one(&received, &published).unwrap();
    assert_eq!(publish.kind(), SpanKind::Producer);
    assert_eq!((&publish.trace_id, &publish.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(of(publish, names::MESSAGING_OPERATION_TYPE).as_deref(), Some("send"));

    let batch = one(&received, &process).unwrap();
    assert_eq!(batch.kind(), SpanKind::Consumer);
    assert!(batch.parent_span_id.is_empty() && batch.trace_id != publish.trace_id, "a root of its own");
    assert_eq!(batch.links.len(), 1);
    assert_eq!((&batch.links[0].trace_id, &batch.links[0].span_id), (&publish.trace_id, &publish.span_id));
    let partition = Some("0".to_owned());
    for (key, value) in [
        (names::MESSAGING_SYSTEM, Some("rabbitmq".to_owned())),
        (names::MESSAGING_OPERATION_NAME, Some("process".to_owned())),
        (names::MESSAGING_OPERATION_TYPE, Some("process".to_owned())),
        (names::MESSAGING_DESTINATION_NAME, Some(stream)),
        (names::MESSAGING_DESTINATION_PARTITION_ID, partition.clone()),
        (names::MESSAGING_BATCH_MESSAGE_COUNT, Some("1".to_owned())),
        (names::FIRST_OFFSET, Some("0".to_owned())),
        (names::NEXT_OFFSET, Some("1".to_owned())),
    ] {
        assert_eq!(of(batch, key), value, "{key}");
    }
    assert_eq!(of(batch, names::BATCH_ID), Some(id.to_string()));
    let mut steps = received.children(batch);
    steps.sort_by_key(|step| step.start_time_unix_nano);
    let steps: Vec<&str> = steps.into_iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, [span::DECODE, span::LOOK_UP, span::COPY, span::FINISH, span::COMMIT]);
    assert_eq!(received.named(span::COMMIT).len(), 1, "a savepoint is none");

    let merge = one(&received, span::MERGE).unwrap();
    assert!(merge.parent_span_id.is_empty());
    let links: Vec<_> = merge.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(links, [(&batch.trace_id, &batch.span_id)]);
    assert_eq!(of(merge, names::BATCH_COUNT).as_deref(), Some("1"));
    assert_eq!(of(merge, names::MESSAGING_DESTINATION_PARTITION_ID), partition);

    assert!(received.metrics.iter().any(|name| name == "analytics.rollup.latency"), "{:?}", received.metrics);
    assert_eq!(attribute(&received.resource, "service.name").as_deref(), Some("analytics-service"));
    assert!(attribute(&received.resource, "service.instance.id").is_some());
    assert!(received.headers.contains(&("x-tenant".to_owned(), "platform".to_owned())), "{:?}", received.headers);
    assert!(
        received.spans.iter().all(|span| span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset))
    );
}

#[tokio::test]
async fn a_trace_goes_on_to_the_rollup_by_grpc() {
    follows_an_event("grpc").await;
}

#[tokio::test]
async fn a_trace_goes_on_to_the_rollup_by_http() {
    follows_an_event("http").await;
}

#[tokio::test]
async fn a_hostile_trace_parent_is_ignored() {
    let receiver = OtlpReceiver::start().await;
    let world = traced(format!("http://{}", receiver.grpc), "grpc", "1").await;
    let service = world.serve().await;
    let long = "0".repeat(5000);
    let hostile = ["", "00", &long, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-01"];
    for trace_parent in hostile {
        assert_eq!(publish(&service, Uuid::new_v4(), trace_parent).await, 202, "{trace_parent}");
    }
    settled(&mut world.connect().await, 5).await;
    eventually("their spans have come", async || {
        (receiver.received().named("POST /analytics/v1/events").len() == hostile.len()).then_some(())
    })
    .await;
    let received = receiver.received();
    let requests = received.named("POST /analytics/v1/events");
    assert!(requests.iter().all(|request| request.parent_span_id.is_empty()), "each is a root of its own");
    let texts = format!("{:?}", received.spans);
    assert!(!texts.contains(&long[..100]), "what a caller sends is in no span");
}

#[tokio::test]
async fn commands_are_producers_whose_trace_goes_on() {
    let receiver = OtlpReceiver::start().await;
    let world = traced(format!("http://{}", receiver.grpc), "grpc", "1").await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--orgs", "3", "--seed", "7"]).await;
    let stream = &world.settings.broker.stream;
    let mut conn = world.connect().await;
    settled(&mut conn, 500).await;
    assert_exact(&mut conn, &report).await;
    let (process, published) = (format!("{} {stream}", span::PROCESS), format!("{} {stream}", span::PUBLISH));
    eventually("the spans have come", async || {
        let received = receiver.received();
        (one(&received, span::MERGE).is_some() && one(&received, &process).is_some()).then_some(())
    })
    .await;
    let received = receiver.received();
    let publish = one(&received, &published).unwrap();
    assert_eq!(of(publish, names::MESSAGING_BATCH_MESSAGE_COUNT).as_deref(), Some("500"));
    for batch in received.named(&process) {
        assert_eq!(batch.links.len(), 1, "one link a trace");
        assert_eq!(batch.links[0].span_id, publish.span_id);
    }
    drop(service);
}

/// Away, then hanging, then closing in the middle: events are counted, spans are counted, and the end does not wait.
#[tokio::test]
async fn a_receiver_that_is_away_costs_no_event() {
    let receiver = OtlpReceiver::start().await;
    let proxy = Proxy::start(receiver.grpc);
    let mut world = traced(format!("http://{}", proxy.address), "grpc", "1").await;
    world.set("ANALYTICS__OTLP__QUEUE", "64");
    world.set("ANALYTICS__OTLP__TIMEOUT_MS", "300");
    world.set("ANALYTICS__OTLP__FLUSH_MS", "300");
    world.set("ANALYTICS__BATCH__MAX_EVENTS", "20");
    proxy.cut();
    let service = world.serve().await;
    let load = Load::at(&world, 1000, "7", &FLAWS).await;
    let counted = async |outcome: &str| counted(&service, outcome).await;
    eventually("spans were dropped and failed", async || {
        (counted("dropped").await > 0.0 && counted("failed").await > 0.0).then_some(())
    })
    .await;
    proxy.heal();
    eventually("spans are sent again", async || (counted("exported").await > 0.0).then_some(())).await;
    proxy.stall();
    let failed = counted("failed").await;
    eventually("what hangs has failed", async || (counted("failed").await > failed).then_some(())).await;
    proxy.drop_connections();
    load.exact(&world).await;
    // Meanwhile it hangs still.
    let begun = Instant::now();
    assert_eq!(service.terminate().await, Some(0));
    assert!(begun.elapsed() < bound(Duration::from_secs(4)), "{:?}", begun.elapsed());
}

/// Spans that have this outcome so far.
async fn counted(service: &Service, outcome: &str) -> f64 {
    service.scrape().await.get(&format!("trace_spans_total{{outcome=\"{outcome}\"}}")).unwrap()
}

async fn go_over_tls(protocol: &str) {
    let receiver = OtlpReceiver::start().await;
    let (server, alpn) = if protocol == "grpc" { (receiver.grpc, "h2") } else { (receiver.http, "http/1.1") };
    let front = TlsFront::before(server, alpn).await;
    let mut world = traced(format!("https://{}", front.address), protocol, "1").await;
    // The system's authorities do not know this certificate.
    let service = world.serve().await;
    assert_eq!(publish(&service, Uuid::new_v4(), "").await, 202);
    eventually("spans have failed", async || (counted(&service, "failed").await > 0.0).then_some(())).await;
    assert_eq!(service.terminate().await, Some(0));
    assert!(receiver.received().spans.is_empty());
    world.set("SSL_CERT_FILE", &front.certificate().display().to_string());
    let service = world.serve().await;
    assert_eq!(publish(&service, Uuid::new_v4(), "").await, 202);
    eventually("spans are exported", async || (counted(&service, "exported").await > 0.0).then_some(())).await;
    assert_eq!(service.terminate().await, Some(0));
    assert!(!receiver.received().spans.is_empty());
}

#[tokio::test]
async fn spans_go_over_tls_by_grpc() {
    go_over_tls("grpc").await;
}

#[tokio::test]
async fn spans_go_over_tls_by_http() {
    go_over_tls("http").await;
}

/// A batch whose pipeline ended comes again: without a commit the span of the first attempt is an error.
#[tokio::test]
async fn a_batch_given_up_is_an_error() {
    let receiver = OtlpReceiver::start().await;
    let mut world = traced(format!("http://{}", receiver.grpc), "grpc", "1").await;
    world.set("ANALYTICS__SUPERVISION__DRILLS", "true");
    world.set("ANALYTICS__SUPERVISION__MAX_RESTARTS", "100");
    let service = world.serve().await;
    let load = Load::at(&world, 1000, "7", &FLAWS).await;
    for _ in 0..3 {
        let generation = service.generation("partition/0").await;
        service.drill("writer/0", "panic").await;
        service.runs_again("partition/0", generation).await;
    }
    load.exact(&world).await;
    assert_eq!(service.terminate().await, Some(0));
    let received = receiver.received();
    let process = format!("{} {}", span::PROCESS, world.settings.broker.stream);
    let batches = received.named(&process);
    assert!(batches.len() > 3);
    for batch in batches {
        let committed = received.children(batch).iter().any(|step| step.name == span::COMMIT);
        let failed = batch.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        // Both: the pipeline ended before it knew of the commit.
        assert!(committed || failed, "{batch:?}");
    }
}

#[tokio::test]
async fn json_lines_carry_the_ids_of_their_work() {
    let receiver = OtlpReceiver::start().await;
    let mut world = traced(format!("http://{}", receiver.grpc), "grpc", "1").await;
    world.set("ANALYTICS__LOG__FORMAT", "json");
    world.set("ANALYTICS__LOG__FILTER", "info,analytics_service=debug");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let service = Service::launch_with_log(&world, std::fs::File::create(&path).unwrap().into());
    eventually("the service is ready", async || (service.readiness().await?.0.as_u16() == 200).then_some(())).await;
    assert_eq!(publish(&service, Uuid::new_v4(), CALLER).await, 202);
    settled(&mut world.connect().await, 1).await;
    assert_eq!(service.terminate().await, Some(0));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with = |name: &str| -> Vec<&Value> { lines.iter().filter(|line| line["span"]["name"] == name).collect() };
    assert!(
        with("request").iter().any(|line| line["span"]["trace_id"] == CALLER[3..35] && line["span"]["id"].is_string()),
        "{text}"
    );
    let batch = with(span::PROCESS);
    assert!(batch.iter().all(|line| line["span"]["batch"].is_string() && line["span"]["partition"] == 0), "{text}");
    assert!(!text.contains("otel."), "{text}");
}
