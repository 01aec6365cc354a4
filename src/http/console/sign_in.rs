//! `POST /console/sign-in` and `/console/sign-out`: a session in place of a credential, which no script of the page keeps then.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, SET_COOKIE},
    web,
};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, future::LocalBoxFuture};
use serde_json::Value;

use super::{
    Console, MAX_BODY,
    cookie::{self, SessionCookie},
    origin::of_marked_page,
};
use crate::{
    actors::serving::sessions::{BeginSession, EndSession, NewSession, RedeemLink},
    auth::{
        Caller, Refusal, Role,
        console::{FreshSecret, hash_of},
    },
    config::Secret,
    domain::{console::ConsolePort, json},
    http::{
        credential::PresentedCredential,
        error::Problem,
        gatekeeper::{AuthenticatedRequest, Gatekeeper},
        params::Argument,
        send::send,
    },
};

/// Longest that a request waits for its session: a little longer than the database may take.
const WAIT: Duration = Duration::from_millis(900);

pub const SIGN_IN: &str = "console.sign_in";
const SIGN_OUT: &str = "console.sign_out";

/// A request that a page of the console has marked.
pub struct OfPage;

impl FromRequest for OfPage {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(if of_marked_page(request) { Ok(Self) } else { Err(Problem::NotOfPage) })
    }
}

impl Argument for OfPage {}

/// What somebody signs in with.
pub enum SignIn {
    Token(Secret),
    Key(Secret),
    Link(Secret),
}

impl SignIn {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = json::object(body).map_err(|reason| Problem::of_reasons(vec![reason]))?;
        let mut fields = fields.into_iter();
        let found = match (fields.next(), fields.next()) {
            (Some((name, Value::String(secret))), None) => match name.as_str() {
                "token" => Some(Self::Token(Secret::new(secret.trim()))),
                "apiKey" => Some(Self::Key(Secret::new(secret.trim()))),
                "link" => Some(Self::Link(Secret::new(secret))),
                _ => None,
            },
            _ => None,
        };
        found.ok_or_else(|| Problem::field("body", "must have exactly one of token, apiKey and link, a string"))
    }
}

impl FromRequest for SignIn {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    /// Nothing of a body is read that no page of the console has sent, and never more than a credential can have.
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        async move {
            OfPage::from_request(&request, &mut payload).await?;
            let plain = !request.headers().contains_key(CONTENT_ENCODING);
            if !plain || !request.content_type().eq_ignore_ascii_case("application/json") {
                return Err(Problem::MediaType);
            }
            let body = web::Payload::from_request(&request, &mut payload).await.map_err(|_| Problem::BadRequest)?;
            let body = body.to_bytes_limited(MAX_BODY).await.map_err(|_| Problem::BodyTooLarge)?;
            Self::read(&body.map_err(|_| Problem::BadRequest)?)
        }
        .boxed_local()
    }
}

impl Argument for SignIn {}

/// Begins a session, in the place of the one that the browser has. A new secret each time: one that was planted is worth nothing.
pub async fn sign_in(
    with: SignIn,
    request: HttpRequest,
    console: web::Data<Console>,
    gatekeeper: web::Data<Gatekeeper>,
) -> Result<HttpResponse, Problem> {
    let presented = match &with {
        SignIn::Token(token) => PresentedCredential::Token(token.expose()),
        SignIn::Key(key) => PresentedCredential::Key(key.expose()),
        SignIn::Link(link) => return redeem(link, &request, &console, &gatekeeper).await,
    };
    let authenticated = gatekeeper.identify(&request, presented, SIGN_IN).await?;
    let until = authenticated.caller.expires_at;
    let cookie = begin(&authenticated, until, &request, &console, &gatekeeper).await?;
    Ok(done(cookie))
}

/// Begins a session of somebody that an issuer has recognised. It does not end with what the issuer said: that only says who has just
/// signed in.
pub async fn begin_as(
    caller: Caller,
    request: &HttpRequest,
    console: &Console,
    gatekeeper: &Gatekeeper,
) -> Result<HeaderValue, Problem> {
    begin(&gatekeeper.accepted(request, caller), None, request, console, gatekeeper).await
}

/// Begins a session of somebody who was recognised, until that moment at most.
async fn begin(
    authenticated: &AuthenticatedRequest,
    until: Option<DateTime<Utc>>,
    request: &HttpRequest,
    console: &Console,
    gatekeeper: &Gatekeeper,
) -> Result<HeaderValue, Problem> {
    let caller: &Caller = &authenticated.caller;
    if console.port == ConsolePort::Operations && !caller.may_operate() {
        return Err(gatekeeper.deny(authenticated, SIGN_IN, None, &[Role::Operator]));
    }
    gatekeeper.limits.credential(caller)?;
    let (secret, new) = new_session(request, console)?;
    let act = authenticated.event(SIGN_IN).of_org(caller.tenant());
    let sha256 = new.sha256;
    let begin = BeginSession { new, grant: caller.grant(), expires_at: until, act };
    send(&gatekeeper.sessions.begin, begin, WAIT).await?;
    gatekeeper.begun(&sha256);
    cookie::set(console.port, &secret).ok_or(Problem::Internal)
}

async fn redeem(
    link: &Secret,
    request: &HttpRequest,
    console: &Console,
    gatekeeper: &Gatekeeper,
) -> Result<HttpResponse, Problem> {
    let refused = || Err(gatekeeper.refuse(request, SIGN_IN, Refusal::Link));
    let Some(link_sha256) = hash_of(link.expose()) else { return refused() };
    gatekeeper.may_look_up(request, &link_sha256)?;
    let (secret, new) = new_session(request, console)?;
    let sha256 = new.sha256;
    let redeem = RedeemLink { link_sha256, new, act: gatekeeper.by_nobody(request, SIGN_IN) };
    if send(&gatekeeper.sessions.redeem, redeem, WAIT).await?.is_none() {
        return refused();
    }
    gatekeeper.begun(&sha256);
    Ok(done(cookie::set(console.port, &secret).ok_or(Problem::Internal)?))
}

/// Ends the browser's session. Where it has none, nothing is done.
pub async fn sign_out(
    _: OfPage,
    request: HttpRequest,
    console: web::Data<Console>,
    gatekeeper: web::Data<Gatekeeper>,
) -> Result<HttpResponse, Problem> {
    if let SessionCookie::Session(sha256) = SessionCookie::of(&request, console.port) {
        let act = gatekeeper.by_nobody(&request, SIGN_OUT);
        send(&gatekeeper.sessions.end, EndSession { sha256, port: console.port, act }, WAIT).await?;
    }
    Ok(done(cookie::remove(console.port).ok_or(Problem::Internal)?))
}

fn new_session(request: &HttpRequest, console: &Console) -> Result<(Secret, NewSession), Problem> {
    let FreshSecret { text, sha256 } = FreshSecret::generate().map_err(|error| {
        tracing::error!(%error, "nobody can sign in");
        Problem::Internal
    })?;
    let replaces = match SessionCookie::of(request, console.port) {
        SessionCookie::Session(sha256) => Some(sha256),
        SessionCookie::Absent | SessionCookie::Invalid => None,
    };
    Ok((text, NewSession { sha256, port: console.port, lasts: console.session_timeout, replaces }))
}

fn done(cookie: HeaderValue) -> HttpResponse {
    HttpResponse::NoContent().insert_header((SET_COOKIE, cookie)).insert_header((CACHE_CONTROL, "no-store")).finish()
}
