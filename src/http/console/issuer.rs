//! `GET /console/sign-in/issuer` and `/console/sign-in/callback`: to the issuer and back. Whatever goes wrong ends at the page where somebody
//! signs in, which says so.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, HeaderValue, LOCATION, SET_COOKIE},
    },
    web,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::{Console, cookie, origin::is_own_navigation, return_path::local, sign_in};
use crate::{
    actors::serving::issuer::{Authorize, Exchange, LONGEST, SignInError},
    auth::oidc::Flow,
    http::{error::Problem, gatekeeper::Gatekeeper},
};

/// Longest code that is passed on.
const MAX_CODE: usize = 4096;

/// What went wrong, as the page where somebody signs in reads it from its address.
#[derive(Clone, Copy)]
enum Failed {
    /// The browser has not begun this here, or too long ago.
    State,
    /// The issuer, or this service, did not accept it.
    Refused,
    /// The roles do not suffice for this port.
    Role,
    /// The issuer, or the database, does not respond.
    Away,
}

impl Failed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Refused => "refused",
            Self::Role => "role",
            Self::Away => "away",
        }
    }

    /// To the page where somebody signs in, from where it goes on to the page that was wanted.
    fn response(self, console: &Console, page: &str) -> HttpResponse {
        let page = utf8_percent_encode(page, NON_ALPHANUMERIC);
        let place = format!("/console/sign-in?failed={}&return={page}", self.as_str());
        to(StatusCode::SEE_OTHER, &place, [cookie::remove_flow(console.port)])
    }
}

/// Sends a browser to the issuer. Only from a page of the console: another one could sign somebody in who did not want that.
pub async fn begin(
    request: HttpRequest,
    console: web::Data<Console>,
    gatekeeper: web::Data<Gatekeeper>,
) -> Result<HttpResponse, Problem> {
    let Some(redirect_uri) = console.redirect_uri() else { return Err(Problem::NotFound) };
    let wanted = parameter(&request, "return");
    let page = local(wanted.as_deref());
    if !is_own_navigation(&request) {
        return Ok(Failed::State.response(&console, page));
    }
    let flow = Flow::begin().map_err(|error| {
        tracing::error!(%error, "nobody can sign in");
        Problem::Internal
    })?;
    let Some(issuer) = gatekeeper.sessions.authorize.get() else { return Ok(Failed::Away.response(&console, page)) };
    match issuer.send(Authorize { flow: flow.clone(), redirect_uri }).timeout(LONGEST).await {
        Ok(Ok(url)) => {
            let kept = format!("{}.{}", flow.text(), URL_SAFE_NO_PAD.encode(page));
            Ok(to(StatusCode::FOUND, &url, [cookie::set_flow(console.port, &kept)]))
        }
        Ok(Err(_)) | Err(_) => Ok(Failed::Away.response(&console, page)),
    }
}

/// Takes a browser back from the issuer, and begins a session.
pub async fn end(
    request: HttpRequest,
    console: web::Data<Console>,
    gatekeeper: web::Data<Gatekeeper>,
) -> Result<HttpResponse, Problem> {
    let Some(redirect_uri) = console.redirect_uri() else { return Err(Problem::NotFound) };
    let Some((flow, page)) = kept(&request, &console) else {
        return Ok(Failed::State.response(&console, local(None)));
    };
    let page = local(Some(&page));
    let failed = |failed: Failed| Ok(failed.response(&console, page));
    if parameter(&request, "state").is_none_or(|state| state != flow.state()) {
        return failed(Failed::State);
    }
    // RFC 9207: of two issuers the response of one must not be taken for the other's.
    if parameters(&request, "iss").any(|issuer| issuer != console.issuer_url()) {
        return failed(Failed::Refused);
    }
    let Some(code) = parameter(&request, "code").filter(|code| code.len() <= MAX_CODE) else {
        return failed(Failed::Refused);
    };
    let Some(issuer) = gatekeeper.sessions.exchange.get() else { return failed(Failed::Away) };
    match issuer.send(Exchange { flow, redirect_uri, code }).timeout(LONGEST).await {
        Ok(Ok(caller)) => match sign_in::begin_as(caller, &request, &console, &gatekeeper).await {
            Ok(session) => {
                let cookies = [Some(session), cookie::remove_flow(console.port)];
                Ok(to(StatusCode::SEE_OTHER, page, cookies))
            }
            Err(Problem::MissingRole(_)) => failed(Failed::Role),
            Err(_) => failed(Failed::Away),
        },
        Ok(Err(SignInError::Token(refusal))) => {
            gatekeeper.refuse(&request, sign_in::SIGN_IN, refusal);
            failed(Failed::Refused)
        }
        Ok(Err(SignInError::Code)) => failed(Failed::Refused),
        Ok(Err(SignInError::Away | SignInError::Busy)) | Err(_) => failed(Failed::Away),
    }
}

/// What the browser keeps of the flow that it has begun, and the page that it wants.
fn kept(request: &HttpRequest, console: &Console) -> Option<(Flow, String)> {
    let value = cookie::flow(request, console.port)?;
    let (flow, page) = value.split_once('.')?;
    let page = String::from_utf8(URL_SAFE_NO_PAD.decode(page).ok()?).ok()?;
    Some((Flow::read(flow)?, page))
}

/// A parameter that is there once.
fn parameter(request: &HttpRequest, name: &str) -> Option<String> {
    let mut values = parameters(request, name);
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(value.into_owned())
}

/// All values of a parameter.
fn parameters<'r>(request: &'r HttpRequest, name: &str) -> impl Iterator<Item = Cow<'r, str>> {
    form_urlencoded::parse(request.query_string().as_bytes()).filter(move |(of, _)| of == name).map(|(_, value)| value)
}

fn to<const N: usize>(status: StatusCode, place: &str, cookies: [Option<HeaderValue>; N]) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.insert_header((LOCATION, place)).insert_header((CACHE_CONTROL, "no-store"));
    for cookie in cookies.into_iter().flatten() {
        response.append_header((SET_COOKIE, cookie));
    }
    response.finish()
}
