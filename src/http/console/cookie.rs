//! The cookies of the console: of a session, and of a browser's way through an issuer. Cookies know no port, so each of the two
//! consoles has names of its own. By their prefix a browser takes them from this host alone and from no page of another one.

use actix_web::{
    HttpRequest,
    http::header::{COOKIE, HeaderValue},
};

use crate::{
    auth::{SecretHash, console::hash_of},
    config::Secret,
    domain::console::ConsolePort,
};

/// No page of another site has it sent along, and no script sees it.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// It comes back from the issuer, so it is sent along with what another site causes.
const FLOW_ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

const fn session_name(port: ConsolePort) -> &'static str {
    match port {
        ConsolePort::Api => "__Host-analytics-console",
        ConsolePort::Operations => "__Host-analytics-operations",
    }
}

const fn flow_name(port: ConsolePort) -> &'static str {
    match port {
        ConsolePort::Api => "__Host-analytics-console-flow",
        ConsolePort::Operations => "__Host-analytics-operations-flow",
    }
}

/// What a request brings under the name of the session's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookie {
    Absent,
    /// It is none of ours, or there is more than one.
    Invalid,
    Session(SecretHash),
}

impl SessionCookie {
    pub fn of(request: &HttpRequest, port: ConsolePort) -> Self {
        let mut values = values(request, session_name(port));
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => hash_of(value).map_or(Self::Invalid, Self::Session),
            (Some(_), Some(_)) => Self::Invalid,
        }
    }
}

/// The values of all cookies of that name, which a browser sends in one header; not those of headers that are no text.
fn values<'r>(request: &'r HttpRequest, name: &'r str) -> impl Iterator<Item = &'r str> {
    let headers = request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = headers.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(other, _)| *other == name).map(|(_, value)| value)
}

/// Has the browser keep a session until it is closed. The session itself ends sooner.
pub fn set(port: ConsolePort, secret: &Secret) -> Option<HeaderValue> {
    set_cookie(session_name(port), secret.expose(), ATTRIBUTES)
}

/// Has the browser forget it.
pub fn remove(port: ConsolePort) -> Option<HeaderValue> {
    set_cookie(session_name(port), "", &format!("Max-Age=0; {ATTRIBUTES}"))
}

/// What the browser keeps of its way through the issuer.
pub fn flow(request: &HttpRequest, port: ConsolePort) -> Option<&str> {
    let mut values = values(request, flow_name(port));
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(value)
}

/// Has the browser keep that for ten minutes.
pub fn set_flow(port: ConsolePort, kept: &str) -> Option<HeaderValue> {
    set_cookie(flow_name(port), kept, &format!("Max-Age=600; {FLOW_ATTRIBUTES}"))
}

pub fn remove_flow(port: ConsolePort) -> Option<HeaderValue> {
    set_cookie(flow_name(port), "", &format!("Max-Age=0; {FLOW_ATTRIBUTES}"))
}

/// `kept` is a value that a cookie may have.
fn set_cookie(name: &str, kept: &str, attributes: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{name}={kept}; {attributes}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::auth::console::FreshSecret;

    fn of(cookies: &[&str]) -> SessionCookie {
        let request = cookies.iter().fold(TestRequest::default(), |request, value| {
            request.append_header((COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap()))
        });
        SessionCookie::of(&request.to_http_request(), ConsolePort::Api)
    }

    #[test]
    fn one_cookie_of_the_name_is_a_session() {
        let fresh = FreshSecret::generate().unwrap();
        let session = SessionCookie::Session(fresh.sha256);
        let ours = format!("__Host-analytics-console={}", fresh.text.expose());
        assert_eq!(of(&[&ours]), session);
        assert_eq!(of(&[&format!("a=b; {ours};theme=dark=er;x")]), session);
        assert_eq!(of(&["a=b", &ours]), session);
        assert_eq!(of(&[&format!("__Host-analytics-operations={}", fresh.text.expose())]), SessionCookie::Absent);
    }

    #[test]
    fn anything_else_is_absent_or_invalid() {
        let secret = FreshSecret::generate().unwrap();
        let ours = format!("__Host-analytics-console={}", secret.text.expose());
        for (cookies, expected) in [
            (vec![], SessionCookie::Absent),
            (vec![";;;=;=="], SessionCookie::Absent),
            (vec!["__host-analytics-console=x; __Host-analytics-console2=y"], SessionCookie::Absent),
            (vec!["__Host-analytics-console="], SessionCookie::Invalid),
            (vec!["__Host-analytics-console=\"quoted\""], SessionCookie::Invalid),
            (vec![ours.as_str(), ours.as_str()], SessionCookie::Invalid),
            (vec!["__Host-analytics-console=x", ours.as_str()], SessionCookie::Invalid),
        ] {
            assert_eq!(of(&cookies), expected, "{cookies:?}");
        }
        let long = format!("__Host-analytics-console={}", "A".repeat(20_000));
        assert_eq!(of(&[&long]), SessionCookie::Invalid);
        assert_eq!(of(&[&format!("{ours}\u{e9}")]), SessionCookie::Absent, "a header that is no ASCII is not read");
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        let secret = FreshSecret::generate().unwrap();
        let text = set(ConsolePort::Operations, &secret.text).unwrap();
        let expected =
            format!("__Host-analytics-operations={}; Path=/; Secure; HttpOnly; SameSite=Strict", secret.text.expose());
        assert_eq!(text.to_str().unwrap(), expected);
        assert!(!format!("{text:?}").contains(secret.text.expose()), "no log shows it");
        assert!(remove(ConsolePort::Api).unwrap().to_str().unwrap().contains("=; Max-Age=0; Path=/"));
    }
}
