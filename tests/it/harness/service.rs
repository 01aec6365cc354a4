//! The service as a process.

use std::{
    fmt::Debug,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use analytics_service::auth::{self, Caller, Credential};
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde_json::Value;
use uuid::Uuid;

use super::{World, contract, eventually};

/// Where servers of tests listen: above those of the stack, which are in 21000 to 22000.
const PORTS: Range<u16> = 22_500..32_500;

pub struct Service {
    pub child: Child,
    pub api: SocketAddr,
    pub ops: SocketAddr,
    pub(super) client: reqwest::Client,
    auth: analytics_service::config::Auth,
}

impl Service {
    /// Starts the service on free ports and waits until it is ready.
    pub async fn start(world: &World) -> Self {
        let service = Self::launch(world);
        eventually("the service is ready", async || (service.readiness().await?.0 == StatusCode::OK).then_some(()))
            .await;
        service
    }

    /// What `/readyz` says, once it says anything.
    pub async fn readiness(&self) -> Option<(StatusCode, Value)> {
        let answer = self.client.get(format!("http://{}/readyz", self.ops)).send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }

    /// Starts the service on free ports.
    pub fn launch(world: &World) -> Self {
        Self::launch_with_log(
            world,
            if std::env::var_os("IT_LOG").is_some() { Stdio::inherit() } else { Stdio::null() },
        )
    }

    /// The same, with a place for its log lines.
    pub fn launch_with_log(world: &World, log: Stdio) -> Self {
        let (api, ops) = (free_address(), free_address());
        let child = world
            .command(&["serve"])
            .envs(&world.routes)
            .env("ANALYTICS__HTTP__ADDRESS", api.to_string())
            .env("ANALYTICS__OPS__ADDRESS", ops.to_string())
            .stderr(log)
            .spawn()
            .unwrap();
        // Already there where another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        Self { child, api, ops, client, auth: world.settings.auth.clone() }
    }

    /// Ends the process as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end and gives its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait_exit().await
    }

    /// Sends a signal by its name: STOP, CONT, TERM, INT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until the process has ended and gives its exit code, none after a signal.
    pub async fn wait_exit(&mut self) -> Option<i32> {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await.code()
    }

    /// Memory that the process holds now.
    pub fn rss_bytes(&self) -> u64 {
        memory_bytes(self.child.id(), "VmRSS")
    }

    /// A token of these roles for these orgs.
    pub fn token(&self, orgs: &[Uuid], roles: &[auth::Role]) -> String {
        let (subject, credential) = ("tests".to_owned(), Credential::Token);
        let caller = Caller { subject, org_ids: orgs.to_vec(), roles: roles.to_vec(), credential, expires_at: None };
        auth::issue(&self.auth, &caller, Duration::from_secs(600)).unwrap()
    }

    /// A GET with a token. Repeated while the response is 503 ([`responded`]), as all methods below without `try_`.
    pub async fn get(&self, path_and_query: &str, token: &str) -> (StatusCode, Value) {
        responded(async || self.try_get(path_and_query, token).await).await
    }

    /// Sent once: for tests with a dependency down.
    pub async fn try_get(&self, path_and_query: &str, token: &str) -> (StatusCode, Value) {
        self.try_send(Method::GET, path_and_query, token, Vec::new()).await
    }

    pub async fn put(&self, path: &str, token: &str, body: Vec<u8>) -> (StatusCode, Value) {
        responded(async || self.try_send(Method::PUT, path, token, body.clone()).await).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> (StatusCode, Value) {
        responded(async || self.try_send(Method::DELETE, path, token, Vec::new()).await).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Vec<u8>) -> (StatusCode, Value) {
        responded(async || self.try_send(Method::POST, path, token, body.clone()).await).await
    }

    /// A request of any method once.
    pub async fn try_send(&self, method: Method, path: &str, token: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.request(method.clone(), path, token);
        read(if [Method::POST, Method::PUT].contains(&method) { json(request, body) } else { request }).await
    }

    /// A GET with an API key.
    pub async fn get_by_key(&self, path_and_query: &str, key: &str) -> (StatusCode, Value) {
        responded(async || read(self.request_by_key(Method::GET, path_and_query, key)).await).await
    }

    /// A POST with an API key.
    pub async fn post_by_key(&self, path: &str, key: &str, body: Vec<u8>) -> (StatusCode, Value) {
        responded(async || self.try_post_by_key(path, key, body.clone()).await).await
    }

    /// The same once.
    pub async fn try_post_by_key(&self, path: &str, key: &str, body: Vec<u8>) -> (StatusCode, Value) {
        read(json(self.request_by_key(Method::POST, path, key), body)).await
    }

    fn request_by_key(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.api)).header("x-api-key", key)
    }

    /// A request to the API as it is: with headers, and without a look at its description.
    pub fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.api)).bearer_auth(token)
    }

    /// What `/ops/actors` shows.
    pub async fn actors(&self) -> Value {
        let answer = self.client.get(format!("http://{}/ops/actors", self.ops)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    pub async fn metrics(&self) -> String {
        let answer = self.client.get(format!("http://{}/metrics", self.ops)).send().await.unwrap();
        answer.text().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Repeats a request while the response is 503: on a busy machine that is correct, and `Retry-After` asks clients to.
pub async fn responded<T: Debug>(mut send: impl AsyncFnMut() -> (StatusCode, T)) -> (StatusCode, T) {
    eventually("the response is another than 503", async || {
        let response = send().await;
        if response.0 != StatusCode::SERVICE_UNAVAILABLE {
            return Some(response);
        }
        eprintln!("sent again after {response:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        None
    })
    .await
}

fn json(request: reqwest::RequestBuilder, body: Vec<u8>) -> reqwest::RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

/// Sends a request, and holds the answer against the API's description.
async fn read(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let answer = client.execute(request).await.unwrap();
    let status = answer.status();
    assert!(status != StatusCode::SERVICE_UNAVAILABLE || answer.headers().contains_key(RETRY_AFTER), "{method} {path}");
    let media_type = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    contract::check(method.as_str(), &path, status.as_u16(), media_type.as_deref(), &text);
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// A free address, given once by this process. Its port is below those of outgoing connections (32768 and up by default, ip(7)): one
/// of these may be taken before the server listens.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Other processes of tests begin far from here.
    let begin = std::process::id() as usize * 389;
    for _ in PORTS {
        let next = (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + u16::try_from(next).unwrap()));
        match TcpListener::bind(address) {
            Ok(_) => return address,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("{address}: {error}"),
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Memory of a process, by its line in `/proc/PID/status`: proc_pid_status(5).
pub fn memory_bytes(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
