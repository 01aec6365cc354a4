//! Issuer: signs people in by an issuer, with which it exchanges what their browsers bring back for who they are.
//! In: Authorize, Exchange from http; End. Out: where to send the browser, or who it is.
//! Failure: issuer away → Away to the caller, and the next request tries again. What it says of itself is remembered for KNOWN_FOR.
//! Bound: AT_ONCE requests, each within READ_WITHIN for each of three steps, and MAX_BYTES for what each of them returns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use reqwest::{Client as HttpClient, RequestBuilder, redirect::Policy};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};

use crate::{
    actors::supervision::vitals::{Vitals, supervised},
    auth::{
        Caller, Refusal,
        jwks::KeySet,
        oidc::{Client, Discovery, Flow, verify_id_token},
    },
    config::{Console, Settings},
    telemetry::log::in_full,
};

/// Largest response of the issuer.
const MAX_BYTES: usize = 256 * 1024;
/// Longest that it may take for one.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Longest that both messages can take: what the issuer publishes, its keys, twice, and the exchange.
pub const LONGEST: Duration = Duration::from_secs(5 * READ_WITHIN.as_secs());
/// People who sign in at a time.
const AT_ONCE: usize = 16;
/// How long counts what the issuer published of itself.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Shortest time between two readings that an unknown key causes.
const KEYS_EVERY: Duration = Duration::from_secs(10);

pub struct Issuer {
    inner: Arc<Inner>,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct IssuerParts {
    pub settings: Settings,
}

struct Inner {
    settings: Console,
    leeway_seconds: u64,
    published: Mutex<Published>,
    places: Semaphore,
}

/// What was read of the issuer.
#[derive(Default)]
struct Published {
    known: Option<Known>,
    /// When it could not be read last.
    failed_at: Option<Instant>,
}

/// What the issuer published of itself.
#[derive(Clone)]
struct Known {
    discovery: Discovery,
    keys: Arc<KeySet>,
    read_at: Instant,
}

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    #[error("the issuer does not respond, or not as an issuer does")]
    Away,
    #[error("too many sign in at once")]
    Busy,
    #[error("the issuer did not accept the code")]
    Code,
    #[error("the issuer's ID token was not accepted: {0}")]
    Token(Refusal),
}

impl Issuer {
    pub fn new(IssuerParts { settings }: IssuerParts, vitals: Vitals) -> Self {
        let leeway_seconds = settings.auth.leeway_seconds;
        let (published, places) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Self { inner: Arc::new(Inner { settings: settings.console, leeway_seconds, published, places }), vitals }
    }
}

supervised!(Issuer);

impl Actor for Issuer {
    type Context = Context<Self>;
}

/// Where is the browser to be sent?
#[derive(Message)]
#[rtype(result = "Result<String, SignInError>")]
pub struct Authorize {
    pub flow: Flow,
    /// Where the issuer sends it back to.
    pub redirect_uri: String,
}

impl Handler<Authorize> for Issuer {
    type Result = ResponseFuture<Result<String, SignInError>>;

    fn handle(&mut self, Authorize { flow, redirect_uri }: Authorize, _: &mut Self::Context) -> Self::Result {
        let (inner, working) = (Arc::clone(&self.inner), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let _place = inner.places.try_acquire().map_err(|_| SignInError::Busy)?;
            let known = inner.known(KNOWN_FOR).await?;
            Ok(known.discovery.authorization_url(&inner.client(&redirect_uri), &flow))
        })
    }
}

/// Who is it that the issuer sent back with this code?
#[derive(Message)]
#[rtype(result = "Result<Caller, SignInError>")]
pub struct Exchange {
    pub flow: Flow,
    pub redirect_uri: String,
    pub code: String,
}

impl Handler<Exchange> for Issuer {
    type Result = ResponseFuture<Result<Caller, SignInError>>;

    fn handle(&mut self, exchange: Exchange, _: &mut Self::Context) -> Self::Result {
        let (inner, working) = (Arc::clone(&self.inner), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let _place = inner.places.try_acquire().map_err(|_| SignInError::Busy)?;
            inner.exchange(&exchange).await
        })
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

impl Inner {
    fn client<'a>(&'a self, redirect_uri: &'a str) -> Client<'a> {
        Client { id: &self.settings.oidc_client_id, redirect_uri, scopes: &self.settings.oidc_scopes }
    }

    async fn exchange(&self, Exchange { flow, redirect_uri, code }: &Exchange) -> Result<Caller, SignInError> {
        let known = self.known(KNOWN_FOR).await?;
        let verifier = flow.verifier();
        let client_id = self.settings.oidc_client_id.as_str();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &verifier),
        ];
        let mut request = http()?.post(known.discovery.token_endpoint.clone());
        let secret = &self.settings.oidc_client_secret;
        if secret.is_empty() {
            form.push(("client_id", client_id));
        } else {
            // RFC 6749, section 2.3.1: both are form-encoded before they become a login.
            request = request.basic_auth(encoded(client_id), Some(encoded(secret.expose())));
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let Response { status, body } = send(request).await?;
        match status {
            200 => {}
            400..=499 => {
                tracing::warn!(status, "an issuer did not accept a code");
                return Err(SignInError::Code);
            }
            _ => return Err(away("its token endpoint", &format!("responded with {status}"))),
        }
        let tokens: Tokens =
            serde_json::from_slice(&body).map_err(|_| away("its token endpoint", "returned no ID token"))?;
        let verify = |known: &Known| {
            let (issuer, nonce) = (&self.settings.oidc_issuer, flow.nonce());
            verify_id_token(&tokens.id_token, &known.keys, issuer, client_id, &nonce, self.leeway_seconds)
        };
        match verify(&known) {
            // The issuer may have a new key since.
            Err(Refusal::UnknownKey) => verify(&self.known(KEYS_EVERY).await?),
            known => known,
        }
        .map_err(SignInError::Token)
    }

    /// What the issuer published of itself, no longer ago than that.
    async fn known(&self, not_older: Duration) -> Result<Known, SignInError> {
        let began = Instant::now();
        let mut published = self.published.lock().await;
        if let Some(known) = published.known.as_ref().filter(|known| known.read_at.elapsed() < not_older) {
            return Ok(known.clone());
        }
        // Whoever waited for a reading that failed does not wait for one more.
        if published.failed_at.is_some_and(|failed_at| failed_at > began) {
            return Err(SignInError::Away);
        }
        let read = self.read().await;
        match &read {
            Ok(known) => published.known = Some(known.clone()),
            Err(_) => published.failed_at = Some(Instant::now()),
        }
        read
    }

    async fn read(&self) -> Result<Known, SignInError> {
        let issuer = &self.settings.oidc_issuer;
        let text = get(&Discovery::place(issuer)).await?;
        let discovery = Discovery::read(&text, issuer, self.settings.oidc_allow_http)
            .map_err(|error| away("what it publishes", &error.to_string()))?;
        let keys = get(discovery.jwks_uri.as_str()).await?;
        let keys = KeySet::read(&keys).map_err(|error| away("its key set", &error.to_string()))?;
        Ok(Known { discovery, keys: Arc::new(keys), read_at: Instant::now() })
    }
}

struct Response {
    status: u16,
    body: Vec<u8>,
}

async fn get(url: &str) -> Result<Vec<u8>, SignInError> {
    match send(http()?.get(url)).await? {
        Response { status: 200, body } => Ok(body),
        // A redirection too: it is where it is said to be, and nowhere else.
        Response { status, .. } => Err(away("what it publishes", &format!("responded with {status}"))),
    }
}

fn http() -> Result<HttpClient, SignInError> {
    let client = HttpClient::builder().no_proxy().redirect(Policy::none()).timeout(READ_WITHIN).build();
    client.map_err(|error| away("no request", &in_full(&error)))
}

async fn send(request: RequestBuilder) -> Result<Response, SignInError> {
    let unreachable = |error: reqwest::Error| away("it", &in_full(&error.without_url()));
    let mut response = request.header("accept", "application/json").send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(away("it", &format!("returned more than {MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: response.status().as_u16(), body })
}

fn away(what: &str, why: &str) -> SignInError {
    tracing::warn!(what, why, "nobody can sign in by the issuer of console.oidc_issuer");
    SignInError::Away
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
