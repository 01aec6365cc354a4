use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;

use super::*;
use crate::{
    actors::supervision::{
        exit::{ExitGuard, Exited},
        liveness::Liveness,
    },
    auth::{
        Refusal, Verifier,
        fixtures::{ec, ed, key_set},
    },
};

const ORG: Uuid = Uuid::from_u128(1);

/// An issuer's server: gives the configured response to every request.
#[derive(Clone)]
struct Issuer {
    address: SocketAddr,
    response: Arc<Mutex<(&'static str, String)>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let response = Arc::new(Mutex::new(("200 OK", body.to_owned())));
        let issuer = Self { address: listener.local_addr().unwrap(), response, requests: Arc::default() };
        let serving = issuer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // The question: its end is not waited for, since there is but one.
                let _ = stream.read(&mut [0; 4096]);
                serving.requests.fetch_add(1, Ordering::SeqCst);
                let (status, body) = serving.response.lock().unwrap().clone();
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        issuer
    }

    fn says(&self, status: &'static str, body: impl Into<String>) {
        *self.response.lock().unwrap() = (status, body.into());
    }

    fn settings(&self) -> Auth {
        let url = Secret::new(format!("http://{}/keys", self.address));
        Auth { jwks_url: url, jwks_refresh_seconds: 3600, ..settings() }
    }
}

fn settings() -> Auth {
    Auth { issuer: "issuer".into(), audience: "audience".into(), jwks_stale_seconds: 60, ..Auth::default() }
}

struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<Exited> for Nobody {
    type Result = ();

    fn handle(&mut self, _: Exited, _: &mut Self::Context) {}
}

/// The actor, and a verifier that looks at its keys.
fn start(settings: &Auth) -> (Addr<Jwks>, Verifier, Readiness) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (verifier, readiness) = (Verifier::new(settings), Readiness::default());
    let exit = ExitGuard::new("jwks".into(), "jwks".into(), 0, Nobody.start().recipient());
    let parts = JwksParts {
        settings: settings.clone(),
        ring: verifier.key_ring().unwrap().clone(),
        readiness: readiness.clone(),
    };
    let vitals = Vitals::new(Liveness::default(), exit);
    (Jwks::new(parts, vitals).start(), verifier, readiness)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn rotated_keys_work_and_removed_keys_do_not() {
    let (old, new) = (ec(1), ed(2));
    let issuer = Issuer::start(&key_set(&[old.jwk("old")]));
    let (actor, verifier, _) = start(&issuer.settings());
    actor.send(Refresh).await.unwrap();
    assert!(verifier.verify(&old.token(Some("old"), ORG)).is_ok());
    issuer.says("200 OK", key_set(&[new.jwk("new")]));
    assert_eq!(verifier.verify(&new.token(Some("new"), ORG)), Err(Refusal::UnknownKey));
    actor.send(Refresh).await.unwrap();
    assert!(verifier.verify(&new.token(Some("new"), ORG)).is_ok());
    assert_eq!(verifier.verify(&old.token(Some("old"), ORG)), Err(Refusal::UnknownKey));
    assert_eq!(verifier.verify(&old.token(Some("new"), ORG)), Err(Refusal::Algorithm));
}

#[actix::test]
async fn a_set_without_usable_keys_is_down() {
    let signer = ec(1);
    let issuer = Issuer::start(r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}"#);
    let (actor, verifier, readiness) = start(&issuer.settings());
    actor.send(Refresh).await.unwrap();
    assert_eq!(readiness.is_up(JWKS), Some(false));
    assert_eq!(verifier.verify(&signer.token(Some("a"), ORG)), Err(Refusal::UnknownKey));
    issuer.says("200 OK", key_set(&[signer.jwk("a")]));
    actor.send(Refresh).await.unwrap();
    assert_eq!(readiness.is_up(JWKS), Some(true));
    assert!(verifier.verify(&signer.token(Some("a"), ORG)).is_ok());
}

#[actix::test]
async fn unknown_key_names_do_not_flood_the_source() {
    let issuer = Issuer::start(&key_set(&[ec(1).jwk("a")]));
    let (actor, ..) = start(&issuer.settings());
    for _ in 0..50 {
        actor.send(Refresh).await.unwrap();
    }
    // The first one waited for the reading that every start begins with, or began one more.
    assert!((1..=2).contains(&issuer.requests.load(Ordering::SeqCst)));
}

#[actix::test]
async fn keys_stay_while_the_source_fails() {
    let signer = ec(1);
    for (status, body) in [
        ("500 Internal Server Error", String::new()),
        ("302 Found\r\nlocation: /keys", String::new()),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", format!("{{\"keys\": [], \"pad\": \"{}\"}}", "x".repeat(MAX_BYTES))),
    ] {
        let issuer = Issuer::start(&key_set(&[signer.jwk("a")]));
        let (actor, verifier, readiness) = start(&issuer.settings());
        actor.send(Refresh).await.unwrap();
        assert_eq!(json_state(&readiness), "up");
        issuer.says(status, body);
        actor.send(Refresh).await.unwrap();
        assert_eq!(json_state(&readiness), "down", "{status}");
        assert!(verifier.verify(&signer.token(Some("a"), ORG)).is_ok(), "{status}");
    }
}

fn json_state(readiness: &Readiness) -> String {
    let snapshot = serde_json::to_value(readiness.snapshot()).unwrap();
    let components = snapshot["components"].as_array().unwrap().clone();
    let jwks = components.into_iter().find(|component| component["name"] == JWKS).unwrap();
    jwks["state"].as_str().unwrap().to_owned()
}

#[actix::test]
async fn an_unavailable_source_is_awaited_at_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = Secret::new(format!("http://user:hunter22@{address}/keys"));
    let (actor, verifier, readiness) = start(&Auth { jwks_url: url, jwks_refresh_seconds: 1, ..settings() });
    actor.send(Refresh).await.unwrap();
    let signer = ec(1);
    assert_eq!(verifier.verify(&signer.token(Some("a"), ORG)), Err(Refusal::KeysAway));
    let shown = serde_json::to_string(&readiness.snapshot()).unwrap();
    assert!(shown.contains("auth.jwks_url") && !shown.contains("hunter22"), "{shown}");
}

#[actix::test]
async fn a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let jwks_file = directory.path().join("keys.json");
    let (old, new) = (ec(1), ec(2));
    std::fs::write(&jwks_file, key_set(&[old.jwk("k")])).unwrap();
    let (_actor, verifier, readiness) = start(&Auth { jwks_file: jwks_file.clone(), ..settings() });
    until(|| verifier.verify(&old.token(Some("k"), ORG)).is_ok()).await;
    std::fs::write(&jwks_file, key_set(&[new.jwk("k")])).unwrap();
    until(|| verifier.verify(&new.token(Some("k"), ORG)).is_ok()).await;
    assert_eq!(verifier.verify(&old.token(Some("k"), ORG)), Err(Refusal::Signature));
    std::fs::remove_file(&jwks_file).unwrap();
    until(|| json_state(&readiness) == "down").await;
    assert!(verifier.verify(&new.token(Some("k"), ORG)).is_ok());
}
