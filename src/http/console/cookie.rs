//! The cookie of a session. Cookies know no port, so each of the two consoles has a name of its own. By its prefix a browser takes
//! it from this host alone and from no page of another one.

use actix_web::{
    HttpRequest,
    http::header::{COOKIE, HeaderValue},
};

use crate::{
    auth::{SecretHash, console::hash_of},
    config::Secret,
    domain::console::ConsolePort,
};

const fn name(port: ConsolePort) -> &'static str {
    match port {
        ConsolePort::Api => "__Host-analytics-console",
        ConsolePort::Operations => "__Host-analytics-operations",
    }
}

/// Of the way through an issuer: it comes back from there, so it is sent along with what another site causes.
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
    Junk,
    Session(SecretHash),
}

impl SessionCookie {
    pub fn of(request: &HttpRequest, port: ConsolePort) -> Self {
        let mut values = values(request, name(port));
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => hash_of(value).map_or(Self::Junk, Self::Session),
            (Some(_), Some(_)) => Self::Junk,
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
    let mut value = HeaderValue::try_from(format!("{}={}; {}", name(port), secret.expose(), ATTRIBUTES)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Has the browser forget it.
pub fn remove(port: ConsolePort) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{}=; Max-Age=0; {}", name(port), ATTRIBUTES)).ok()
}

/// What the browser keeps of its way through the issuer.
pub fn flow(request: &HttpRequest, port: ConsolePort) -> Option<&str> {
    let mut values = values(request, flow_name(port));
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(value)
}

pub fn set_flow(port: ConsolePort, kept: &str) -> Option<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("{}={kept}; Max-Age=600; {FLOW_ATTRIBUTES}", flow_name(port))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub fn remove_flow(port: ConsolePort) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{}=; Max-Age=0; {FLOW_ATTRIBUTES}", flow_name(port))).ok()
}

const FLOW_ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// No page of another site has it sent along, and no script sees it.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

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
        let fresh = FreshSecret::make().unwrap();
        let session = SessionCookie::Session(fresh.sha256);
        let ours = format!("__Host-analytics-console={}", fresh.text.expose());
        assert_eq!(of(&[&ours]), session);
        assert_eq!(of(&[&format!("a=b; {ours};theme=dark=er;x")]), session);
        assert_eq!(of(&["a=b", &ours]), session);
        assert_eq!(of(&[&format!("__Host-analytics-operations={}", fresh.text.expose())]), SessionCookie::Absent);
    }

    #[test]
    fn anything_else_is_none_or_junk() {
        let secret = FreshSecret::make().unwrap();
        let ours = format!("__Host-analytics-console={}", secret.text.expose());
        for (cookies, expected) in [
            (vec![], SessionCookie::Absent),
            (vec![";;;=;=="], SessionCookie::Absent),
            (vec!["__host-analytics-console=x; __Host-analytics-console2=y"], SessionCookie::Absent),
            (vec!["__Host-analytics-console="], SessionCookie::Junk),
            (vec!["__Host-analytics-console=\"quoted\""], SessionCookie::Junk),
            (vec![ours.as_str(), ours.as_str()], SessionCookie::Junk),
            (vec!["__Host-analytics-console=x", ours.as_str()], SessionCookie::Junk),
        ] {
            assert_eq!(of(&cookies), expected, "{cookies:?}");
        }
        let long = format!("__Host-analytics-console={}", "A".repeat(20_000));
        assert_eq!(of(&[&long]), SessionCookie::Junk);
        assert_eq!(of(&[&format!("{ours}\u{e9}")]), SessionCookie::Absent, "a header that is no ASCII is not read");
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        let secret = FreshSecret::make().unwrap();
        let text = set(ConsolePort::Operations, &secret.text).unwrap();
        let expected =
            format!("__Host-analytics-operations={}; Path=/; Secure; HttpOnly; SameSite=Strict", secret.text.expose());
        assert_eq!(text.to_str().unwrap(), expected);
        assert!(!format!("{text:?}").contains(secret.text.expose()), "no log shows it");
        assert!(remove(ConsolePort::Api).unwrap().to_str().unwrap().contains("=; Max-Age=0; Path=/"));
    }
}
