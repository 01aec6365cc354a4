//! Which requests count as sent by the console's own pages: a browser adds the session's cookie whoever has it send one, such as a
//! page on another port of this host.
//!
//! Pages mark what they send with a header that no page of another origin can add: the browser would have to be allowed it
//! beforehand (CORS), and is not. Plain links and images cannot be marked; of these, what changes nothing counts where the browser itself
//! says that a page of this origin is the cause (`Sec-Fetch-Site`).

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING},
    },
};

/// What a page sends because somebody does something, and what it sends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Use,
    Poll,
}

const MARK: HeaderName = HeaderName::from_static("x-console");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the browser says of the page that is the cause of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It says nothing: an old one, or none at all.
    Unsaid,
    /// A page of this origin.
    Own,
    /// No page: somebody came by an address or a bookmark.
    Nobody,
    /// A page of another origin.
    Foreign,
}

impl Cause {
    fn of(request: &HttpRequest) -> Self {
        let mut sites = request.headers().get_all(SITE);
        match (sites.next(), sites.next()) {
            (None, _) => Self::Unsaid,
            (Some(site), None) if site == "same-origin" => Self::Own,
            (Some(site), None) if site == "none" => Self::Nobody,
            _ => Self::Foreign,
        }
    }
}

/// None: it was not sent by a page of the console, or nothing shows that it was.
pub fn of_page(request: &HttpRequest) -> Option<Sent> {
    let cause = Cause::of(request);
    if let Some(sent) = marked(request).filter(|_| matches!(cause, Cause::Own | Cause::Unsaid)) {
        return (!has_body(request) || is_json(request)).then_some(sent);
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    (reads && cause == Cause::Own && !request.headers().contains_key(MARK)).then_some(Sent::Use)
}

/// The same where only a mark will do: to sign in and out.
pub fn of_marked_page(request: &HttpRequest) -> bool {
    matches!(Cause::of(request), Cause::Own | Cause::Unsaid) && marked(request).is_some()
}

/// Whether no page of another origin has sent somebody here.
pub fn is_own_navigation(request: &HttpRequest) -> bool {
    Cause::of(request) != Cause::Foreign
}

fn marked(request: &HttpRequest) -> Option<Sent> {
    let mut marks = request.headers().get_all(MARK);
    let (mark, None) = (marks.next()?, marks.next()) else { return None };
    match mark.as_bytes() {
        b"1" => Some(Sent::Use),
        b"poll" => Some(Sent::Poll),
        _ => None,
    }
}

fn has_body(request: &HttpRequest) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    request.headers().contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// Forms send other types.
fn is_json(request: &HttpRequest) -> bool {
    let mut types = request.headers().get_all(CONTENT_TYPE);
    let (Some(of), None) = (types.next(), types.next()) else { return false };
    let essence = of.to_str().ok().and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> HttpRequest {
        let request = headers.iter().fold(TestRequest::default().method(method), |request, (name, value)| {
            request.append_header((*name, *value))
        });
        request.to_http_request()
    }

    #[test]
    fn marked_requests_and_own_links_count() {
        let json = ("content-type", "application/json; charset=utf-8");
        for (method, headers, sent) in [
            (Method::GET, vec![("x-console", "1")], Sent::Use),
            (Method::GET, vec![("x-console", "poll"), ("sec-fetch-site", "same-origin")], Sent::Poll),
            (Method::GET, vec![("sec-fetch-site", "same-origin")], Sent::Use),
            (Method::HEAD, vec![("sec-fetch-site", "same-origin")], Sent::Use),
            (Method::POST, vec![("x-console", "1")], Sent::Use),
            (Method::POST, vec![("x-console", "1"), ("content-length", "0")], Sent::Use),
            (Method::PUT, vec![("x-console", "1"), ("content-length", "7"), json], Sent::Use),
            (Method::POST, vec![("x-console", "1"), ("transfer-encoding", "chunked"), json], Sent::Use),
        ] {
            assert_eq!(of_page(&request(method, &headers)), Some(sent), "{headers:?}");
        }
    }

    #[test]
    fn what_another_page_could_send_does_not() {
        let form = ("content-type", "text/plain");
        for (method, headers) in [
            (Method::GET, vec![]),
            (Method::GET, vec![("sec-fetch-site", "none")]),
            (Method::GET, vec![("sec-fetch-site", "same-site")]),
            (Method::GET, vec![("sec-fetch-site", "cross-site")]),
            (Method::GET, vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]),
            (Method::GET, vec![("x-console", "1"), ("sec-fetch-site", "same-site")]),
            (Method::GET, vec![("x-console", "1"), ("sec-fetch-site", "none")]),
            (Method::GET, vec![("x-console", "0"), ("sec-fetch-site", "same-origin")]),
            (Method::GET, vec![("x-console", "1"), ("x-console", "1")]),
            (Method::POST, vec![("sec-fetch-site", "same-origin")]),
            (Method::DELETE, vec![("sec-fetch-site", "same-origin")]),
            (Method::POST, vec![("x-console", "1"), ("content-length", "7")]),
            (Method::POST, vec![("x-console", "1"), ("content-length", "7"), form]),
            (Method::POST, vec![("x-console", "1"), ("transfer-encoding", "chunked"), form]),
        ] {
            assert_eq!(of_page(&request(method, &headers)), None, "{headers:?}");
        }
    }

    #[test]
    fn signing_in_needs_the_mark() {
        assert!(of_marked_page(&request(Method::POST, &[("x-console", "1")])));
        assert!(!of_marked_page(&request(Method::POST, &[("sec-fetch-site", "same-origin")])));
        assert!(!of_marked_page(&request(Method::POST, &[("x-console", "1"), ("sec-fetch-site", "same-site")])));
    }
}
