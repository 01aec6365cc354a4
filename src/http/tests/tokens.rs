//! Tokens of an issuer with a key set, and what the log says of those that are refused.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, ResponseFuture};
use actix_web::http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::json;

use super::support::*;
use crate::{
    actors::serving::jwks::Refresh,
    auth::{
        fixtures::{Signer, ec, ed, key_set, rsa_of, sign},
        jwks::KeySet,
        key_ring::KeyRing,
    },
    config::{Auth, Secret},
    http::{Api, Gatekeeper},
};

const FRESHNESS: &str = "/analytics/v1/orgs/00000000-0000-0000-0000-00000000000a/freshness";

fn keys(signers: &[(&str, &Signer)]) -> KeySet {
    let keys: Vec<_> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    KeySet::read(key_set(&keys).as_bytes()).unwrap()
}

/// With the secret and these keys.
fn issuer(signers: &[(&str, &Signer)]) -> Gatekeeper {
    let gatekeeper = gatekeeper(&Auth { jwks_file: "keys.json".into(), ..auth_settings() });
    gatekeeper.verifier.key_ring().unwrap().put(keys(signers));
    gatekeeper
}

async fn send(gatekeeper: &Gatekeeper, token: &str) -> Response {
    let api = Api { gatekeeper: gatekeeper.clone(), ..api_with(None) };
    call(api, Method::GET, FRESHNESS, &[("authorization", &format!("Bearer {token}"))]).await
}

/// With another payload than was signed.
fn tampered(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let other = ec(1).token_with(None, ORG, |claims| claims["sub"] = json!("mallory"));
    [parts[0], other.split('.').nth(1).unwrap(), parts[2]].join(".")
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_web::test]
async fn each_algorithm_of_the_key_set_works() {
    let (rsa, ec, ed) = (rsa_of(2048), ec(1), ed(1));
    let gatekeeper = issuer(&[("r", &rsa), ("e", &ec), ("d", &ed)]);
    for (kid, signer) in [("r", &rsa), ("e", &ec), ("d", &ed)] {
        assert_eq!(send(&gatekeeper, &signer.token(Some(kid), ORG)).await.status, 200, "{kid}");
    }
}

#[actix_web::test]
async fn refused_tokens_are_logged_without_the_token() {
    let (rsa, other) = (rsa_of(2048), ec(1));
    let gatekeeper = issuer(&[("r", &rsa)]);
    let now = get_current_timestamp();
    let good = rsa.token(Some("r"), ORG);
    let (_, rest) = good.split_once('.').unwrap();
    let payload = rest.split_once('.').unwrap().0;
    let forged = |form: &[u8]| {
        let header = Header { kid: Some("r".into()), ..Header::new(Algorithm::HS256) };
        sign(&header, &EncodingKey::from_secret(form), ORG, |_| ())
    };
    let with = |name: &str, value: serde_json::Value| rsa.token_with(Some("r"), ORG, |claims| claims[name] = value);
    let mut cases = vec![
        ("cannot be read", format!("eyJhbGciOiJub25lIn0.{payload}.")),
        ("audience", with("aud", json!("elsewhere"))),
        ("issuer", with("iss", json!("elsewhere"))),
        ("expired", with("exp", json!(now - 60))),
        ("not valid yet", with("nbf", json!(now + 60))),
        ("no such key", rsa.token(Some("nobody"), ORG)),
        ("no such key", other.token(Some("removed"), ORG)),
        ("algorithm", other.token(Some("r"), ORG)),
        ("signature", tampered(&good)),
        ("longer than", with("pad", json!("x".repeat(100 * 1024)))),
    ];
    cases.extend(rsa.forms.iter().map(|form| ("algorithm", forged(form))));
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _logging = tracing::subscriber::set_default(lines.finish());
    for (reason, token) in cases {
        let response = send(&gatekeeper, &token).await;
        response.problem(401);
        let lines = log.take();
        assert!(lines.contains("a credential was refused") && lines.contains(reason), "{reason}: {lines}");
        let parts: Vec<&str> = token.split('.').filter(|part| part.len() > 10).collect();
        assert!(!parts.is_empty());
        for part in parts {
            assert!(!lines.contains(part) && !response.text.contains(part), "{reason}: {lines}");
        }
    }
}

/// The actor that reads the key set, where reading takes some time and brings a new key.
struct Reading {
    ring: KeyRing,
    takes: Duration,
}

impl Actor for Reading {
    type Context = Context<Self>;
}

impl Handler<Refresh> for Reading {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Refresh, _: &mut Self::Context) -> Self::Result {
        let (ring, takes) = (self.ring.clone(), self.takes);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            ring.put(keys(&[("new", &ed(2))]));
        })
    }
}

#[actix_web::test]
async fn tokens_of_new_keys_wait_shortly() {
    for (takes, status) in [(Duration::from_millis(20), 200), (Duration::from_secs(60), 401)] {
        let gatekeeper = issuer(&[("old", &ec(1))]);
        let ring = gatekeeper.verifier.key_ring().unwrap().clone();
        gatekeeper.jwks.set(Reading { ring, takes }.start().recipient());
        let since = Instant::now();
        assert_eq!(send(&gatekeeper, &ed(2).token(Some("new"), ORG)).await.status.as_u16(), status, "{takes:?}");
        assert!(since.elapsed() < Duration::from_secs(5));
        assert_eq!(send(&gatekeeper, &ec(1).token(Some("old"), ORG)).await.status == 401, status == 200, "removed");
    }
}

#[actix_web::test]
async fn tokens_are_503_while_keys_are_unknown() {
    let gatekeeper = gatekeeper(&Auth { jwks_file: "keys.json".into(), ..auth_settings() });
    let good = ec(1).token(Some("e"), ORG);
    let response = send(&gatekeeper, &good).await;
    response.problem(503);
    assert!(response.header("retry-after").is_some());
    // What no key could make good is refused all the same, and nothing of the sort is recorded for the others.
    send(&gatekeeper, "garbage").await.problem(401);
    assert_eq!(gatekeeper.backlog.take(usize::MAX, true).rows().len(), 1);
    gatekeeper.verifier.key_ring().unwrap().put(keys(&[("e", &ec(1))]));
    assert_eq!(send(&gatekeeper, &good).await.status, 200);
}

#[actix_web::test]
async fn without_a_secret_only_keys_count() {
    let settings =
        Auth { hs256_secret: Secret::default(), jwks_url: Secret::new("https://issuer.test/"), ..auth_settings() };
    let gatekeeper = gatekeeper(&settings);
    gatekeeper.verifier.key_ring().unwrap().put(keys(&[("e", &ec(1))]));
    send(&gatekeeper, &token(crate::auth::Role::OrgAdmin)).await.problem(401);
    assert_eq!(send(&gatekeeper, &ec(1).token(None, ORG)).await.status, 200);
}
