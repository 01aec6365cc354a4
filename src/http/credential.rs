//! The credential that a request presents.

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HeaderName},
    web,
};

use super::console::{
    Console,
    cookie::SessionCookie,
    origin::{Sent, of_page},
};
use crate::{actors::serving::sessions::Presented, auth::Refusal};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub enum PresentedCredential<'a> {
    Token(&'a str),
    Key(&'a str),
    /// Of the console.
    Session(Presented),
}

impl<'a> PresentedCredential<'a> {
    /// The one credential of a request: with two it would be unclear which one counts. A session of the console counts where there is no
    /// other, and where one of its pages sent the request.
    pub fn of(request: &'a HttpRequest) -> Result<Self, Refusal> {
        let (tokens, keys) = (request.headers().get_all(AUTHORIZATION), request.headers().get_all(X_API_KEY));
        let mut shown = tokens.map(|value| (value, true)).chain(keys.map(|value| (value, false)));
        let Some((value, is_token)) = shown.next() else { return session(request) };
        if shown.next().is_some() {
            return Err(Refusal::Ambiguous);
        }
        let text = value.to_str().map_err(|_| Refusal::Malformed)?;
        if !is_token {
            return Ok(Self::Key(text));
        }
        let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Ambiguous);
        }
        Ok(Self::Token(token.trim()))
    }
}

fn session<'a>(request: &HttpRequest) -> Result<PresentedCredential<'a>, Refusal> {
    let console = request.app_data::<web::Data<Console>>().ok_or(Refusal::Missing)?;
    let sha256 = match SessionCookie::of(request, console.port) {
        SessionCookie::Absent => return Err(Refusal::Missing),
        SessionCookie::Invalid => return Err(Refusal::SessionForm),
        SessionCookie::Session(sha256) => sha256,
    };
    let sent = of_page(request).ok_or(Refusal::NotOfPage)?;
    Ok(PresentedCredential::Session(Presented { sha256, port: console.port, is_use: sent == Sent::Use }))
}
