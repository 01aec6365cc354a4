//! Clients that hold connections, bodies and responses: nobody else waits for them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use uuid::Uuid;

use crate::harness::{Service, World, bound, eventually, millis};

const ASK: &[u8] = b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n";

/// A connection from one of the loopback network's addresses.
async fn from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((IpAddr::V4(Ipv4Addr::from(source)), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a request, takes its response, and sends the first byte of another.
async fn ask_and_go_silent(stream: &mut TcpStream) {
    stream.write_all(ASK).await.unwrap();
    let read = stream.read(&mut [0; 4096]).await.unwrap();
    assert!(read > 0);
    stream.write_all(b"G").await.unwrap();
}

/// Reads to the end, or to the reset, of a connection.
async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut read)).await;
    let _reset_or_not = ended.unwrap_or_else(|_| panic!("it stays open after {} bytes", read.len()));
    read
}

async fn closed(service: &Service, port: &str, reason: &str) -> u64 {
    let name = format!("analytics_http_connections_closed_total{{port=\"{port}\",reason=\"{reason}\"}} ");
    let metrics = service.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// Both ports answer within so long.
async fn answers(service: &Service, within: Duration) {
    // Without a connection from before, as a probe has none.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for url in [
        format!("http://{}/healthz", service.ops),
        format!("http://{}/readyz", service.ops),
        format!("http://{}/openapi.json", service.api),
    ] {
        let answer = timeout(within, client.get(&url).send()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{url} does not answer")).unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{url}");
    }
}

#[tokio::test]
async fn silence_after_a_request_ends_the_connection() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__HEAD_TIMEOUT_MS", "500");
    let service = world.serve().await;
    for port in [service.api, service.ops] {
        let mut silent = from([127, 0, 0, 1], port).await;
        let since = Instant::now();
        ask_and_go_silent(&mut silent).await;
        to_the_end(&mut silent).await;
        assert!(since.elapsed() >= Duration::from_millis(400));
    }
    let closed = [closed(&service, "api", "head").await, closed(&service, "operations", "head").await];
    assert!(closed.iter().all(|closed| *closed >= 1), "{closed:?}");
}

#[tokio::test]
async fn an_endless_first_head_is_closed() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__HEAD_TIMEOUT_MS", "500");
    let service = world.serve().await;
    for (port, name) in [(service.api, "api"), (service.ops, "operations")] {
        let before = closed(&service, name, "head").await;
        let since = Instant::now();
        let mut silent = from([127, 0, 0, 1], port).await;
        silent.write_all(b"G").await.unwrap();
        assert_eq!(to_the_end(&mut silent).await, b"", "there is no request to answer");
        assert!(since.elapsed() >= Duration::from_millis(400));
        assert_eq!(closed(&service, name, "head").await, before + 1, "{name}");
    }
}

#[tokio::test]
async fn silent_connections_starve_neither_port() {
    let mut world = World::new(1).await;
    // Only room that is made can help.
    world.set("ANALYTICS__HTTP__HEAD_TIMEOUT_MS", "60000");
    world.set_all([
        ("ANALYTICS__HTTP__MAX_CONNECTIONS".to_owned(), "128".to_owned()),
        ("ANALYTICS__HTTP__MAX_CONNECTIONS_PER_ADDRESS".to_owned(), "128".to_owned()),
    ]);
    let service = world.serve().await;
    let mut silent = Vec::new();
    for n in 0..300_u16 {
        for port in [service.api, service.ops] {
            // Of the prober's address, and of fifty others.
            let source = if n % 2 == 0 { [127, 0, 0, 1] } else { [127, 0, 0, 2 + (n % 50) as u8] };
            let mut stream = from(source, port).await;
            ask_and_go_silent(&mut stream).await;
            silent.push(stream);
        }
    }
    for _ in 0..20 {
        answers(&service, bound(Duration::from_secs(2))).await;
    }
    eventually("room was made", async || {
        let made = (closed(&service, "api", "room").await, closed(&service, "operations", "room").await);
        (made.0 >= 172 && made.1 >= 44).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_takes_only_its_own_room() {
    let mut world = World::new(1).await;
    world.set_all([
        ("ANALYTICS__HTTP__MAX_CONNECTIONS".to_owned(), "64".to_owned()),
        ("ANALYTICS__HTTP__MAX_CONNECTIONS_PER_ADDRESS".to_owned(), "32".to_owned()),
    ]);
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &[Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{org}/freshness");
    let mut silent = Vec::new();
    for _ in 0..10 {
        // The same connection each time: one that is closed between two requests would fail.
        assert_eq!(service.get(&path, &token).await.0, StatusCode::OK);
        for _ in 0..20 {
            silent.push(from([127, 0, 0, 9], service.api).await);
        }
    }
    eventually("all are accepted", async || (closed(&service, "api", "room").await >= 168).then_some(())).await;
}

fn post(path: &str, authorization: &str, length: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{authorization}{length}\r\n\r\n"
    );
    head.into_bytes()
}

#[tokio::test]
async fn a_trickling_body_is_408_and_the_end() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__BODY_TIMEOUT_MS", "700");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let bearer = format!("Authorization: Bearer {}\r\n", service.token(&[org], &[Role::OrgAdmin]));
    let path = format!("/analytics/v1/orgs/{org}/api-keys");
    for length in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let (mut reads, mut writes) = from([127, 0, 0, 1], service.api).await.into_split();
        let trickle = async {
            writes.write_all(&post(&path, &bearer, length)).await?;
            loop {
                let piece: &[u8] = if length.starts_with('C') { b" " } else { b"1\r\n \r\n" };
                writes.write_all(piece).await?;
                // The pace of the trickle.
                millis(50..51).await;
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            std::io::Result::Ok(())
        };
        let mut read = Vec::new();
        let answered = async {
            let _ = timeout(Duration::from_secs(20), reads.read_to_end(&mut read)).await.unwrap();
        };
        tokio::select! {
            () = answered => {}
            () = async { let _ = trickle.await; std::future::pending::<()>().await } => {}
        }
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 408"), "{length}: {text}");
        assert!(text.contains("connection: close") && text.contains("/problems/body-late"), "{text}");
    }
}

#[tokio::test]
async fn a_refused_body_is_not_read_on() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__MAX_BODY_BYTES", "65536");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let bearer = format!("Authorization: Bearer {}\r\n", service.token(&[org], &[Role::OrgAdmin]));
    let path = format!("/analytics/v1/orgs/{org}/api-keys");
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat();
    for (authorization, status) in [("", "401"), (bearer.as_str(), "413")] {
        let (mut reads, mut writes) = from([127, 0, 0, 1], service.api).await.into_split();
        writes.write_all(&post(&path, authorization, "Transfer-Encoding: chunked")).await.unwrap();
        let mut sent = 0;
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            let _ = reads.read_to_end(&mut read).await;
            read
        });
        // Until the other side takes no more.
        let ended = timeout(Duration::from_secs(20), async {
            while writes.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
                tokio::task::yield_now().await;
            }
        });
        assert!(ended.await.is_ok(), "{status}: {sent} bytes are read on");
        assert!(sent < 16 << 20, "{status}: {sent} bytes were taken");
        // The response may be lost to the reset where the client does not read it in time.
        let read = reading.await.unwrap();
        let text = String::from_utf8_lossy(&read);
        assert!(text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
}

/// A path whose response is larger than the kernel's buffers.
fn large(org: Uuid) -> String {
    format!(
        "/analytics/v1/orgs/{org}/usage?start=2026-03-01T00:00:00Z&end=2026-05-29T00:00:00Z&granularity=hour&fill=zero"
    )
}

async fn ask_and_not_read(service: &Service, org: Uuid, token: &str) -> TcpStream {
    let mut stream = from([127, 0, 0, 1], service.api).await;
    let ask = format!("GET {} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n", large(org));
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_unread_response_is_aborted() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__HTTP__RESPONSE_TIMEOUT_MS", "3000");
    world.set("ANALYTICS__HTTP__RESPONSE_BYTES_PER_SECOND", "1000000");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &[Role::OrgViewer]);
    let (status, whole) = service.get(&large(org), &token).await;
    assert_eq!((status, whole["series"].as_array().map(Vec::len)), (StatusCode::OK, Some(2136)));
    let _unread = ask_and_not_read(&service, org, &token).await;
    eventually("it is given up", async || (closed(&service, "api", "response").await >= 1).then_some(())).await;
    eventually("its bytes are released", async || {
        service.metrics().await.lines().any(|line| line == "analytics_http_response_bytes 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_orgs_unread_responses_are_bounded() {
    let mut world = World::new(1).await;
    world.set_all([("ANALYTICS__HTTP__MAX_RESPONSE_BYTES_PER_ORG".to_owned(), "33554432".to_owned())]);
    let service = world.serve().await;
    let (org, other) = (Uuid::new_v4(), Uuid::new_v4());
    let token = service.token(&[org], &[Role::OrgViewer]);
    let mut unread = Vec::new();
    // Each is about 370 kB.
    let refused = eventually("a further one is refused", async || {
        unread.push(ask_and_not_read(&service, org, &token).await);
        let (status, problem) = service.get(&large(org), &token).await;
        (status != StatusCode::OK).then_some((status, problem))
    })
    .await;
    assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.1["type"], "/problems/unread-responses");
    assert!((60..200).contains(&unread.len()), "{}", unread.len());
    let (status, _) = service.get(&large(other), &service.token(&[other], &[Role::OrgViewer])).await;
    assert_eq!(status, StatusCode::OK);
    drop(unread);
    eventually("it is answered again", async || {
        (service.get(&large(org), &token).await.0 == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_without_end_is_not_collected() {
    let world = World::new(1).await;
    let service = world.serve().await;
    for port in [service.api, service.ops] {
        let mut stream = from([127, 0, 0, 1], port).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let line = format!("X-Long: {}\r\n", "x".repeat(1000));
        let mut sent = 0;
        while stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
            assert!(sent < 8 << 20, "{sent} bytes of a head were taken");
            tokio::task::yield_now().await;
        }
    }
}
