//! Client of the operations port of a running service.

use std::{error::Error, net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode, Url, redirect::Policy};
use serde::Deserialize;

use crate::config;

/// No body of the service is longer; a stranger's could be.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

pub struct Client {
    http: reqwest::Client,
    base: Url,
    deadline: Duration,
}

/// Why there is no response that could be used.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{url}: {why}")]
    NoResponse { url: Url, why: String },
    /// The service's own words.
    #[error("{title}: {detail}")]
    Problem { status: StatusCode, title: String, detail: String },
    #[error(
        "{url}: Not found: this process has no such actor (`actors list` shows those it has), or it is not its operations port \
         (ops.address)"
    )]
    NotThere { url: Url },
    #[error("{url}: {status}, and the response is not the service's")]
    Foreign { url: Url, status: StatusCode },
}

impl CallError {
    /// Whether the same may go through later: the service is away, starting or busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoResponse { .. } => true,
            Self::NotThere { .. } => false,
            Self::Problem { status, .. } | Self::Foreign { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Status and body.
pub struct Response {
    url: Url,
    pub status: StatusCode,
    pub body: String,
}

impl Response {
    /// The body of a success.
    ///
    /// # Errors
    /// The problem that the service names.
    pub fn success(self) -> Result<String, CallError> {
        let Self { url, status, body } = self;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_str::<Problem>(&body) {
            // The port has every path that is called, so an actor is not there, or it is another port.
            Ok(_) if status == StatusCode::NOT_FOUND => Err(CallError::NotThere { url }),
            Ok(problem) => Err(problem.of_status(status)),
            Err(_) => Err(CallError::Foreign { url, status }),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    field: String,
    message: String,
}

impl Problem {
    fn of_status(self, status: StatusCode) -> CallError {
        let mut detail = self.detail;
        for FieldError { field, message } in self.errors {
            detail += &format!("; {field} {message}");
        }
        CallError::Problem { status, title: self.title, detail }
    }
}

impl Client {
    /// Calls `url`, or where the settings say that the port is; each response has to be there within `deadline`.
    ///
    /// # Errors
    /// The system does not allow a client.
    pub fn new(ops: &config::Ops, url: Option<&Url>, deadline: Duration) -> anyhow::Result<Self> {
        let base = match url {
            Some(url) => url.clone(),
            None => format!("http://{}", reachable(ops.address)).parse()?,
        };
        // What is called is what was named: no proxy of the environment, no other place that a response points to.
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(deadline).build()?;
        Ok(Self { http, base, deadline })
    }

    /// Where it calls, without the slash at the end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Response, CallError> {
        self.call(Method::GET, path, query, None).await
    }

    pub async fn post(&self, path: &str, token: &str) -> Result<Response, CallError> {
        self.call(Method::POST, path, &[], Some(token)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        token: Option<&str>,
    ) -> Result<Response, CallError> {
        let mut url = self.base.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        match read(request).await {
            Ok((status, body)) => Ok(Response { url, status, body }),
            Err(error) => Err(CallError::NoResponse { url, why: self.why(&error) }),
        }
    }

    /// The cause at the bottom: what lies above it repeats that something was called.
    fn why(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no response within {} s", self.deadline.as_secs());
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        cause.to_string()
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<(StatusCode, String), reqwest::Error> {
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while body.len() < MAX_RESPONSE_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), String::from_utf8_lossy(&body).into_owned()))
}

/// A service that listens on every interface is called on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Reads the argument `--url`.
pub fn base_url(text: &str) -> Result<Url, &'static str> {
    const FORM: &str = "must be http://host:port; the operations port has no TLS";
    let url = Url::parse(text).map_err(|_| FORM)?;
    let plain = url.scheme() == "http" && url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if plain { Ok(url) } else { Err(FORM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_means_the_loopback_interface() {
        for (bound, called) in [("0.0.0.0:81", "127.0.0.1:81"), ("[::]:81", "[::1]:81"), ("10.0.0.1:81", "10.0.0.1:81")]
        {
            assert_eq!(reachable(bound.parse().unwrap()), called.parse().unwrap());
        }
    }

    #[test]
    fn a_base_is_a_plain_address() {
        assert_eq!(base_url("http://pod-1:8081").unwrap().as_str(), "http://pod-1:8081/");
        assert!(base_url("http://[::1]:8081/").is_ok());
        for wrong in ["pod-1:8081", "https://pod-1:8081", "http://pod-1/ops", "http://pod-1?a=b", "http://u@pod-1", ""]
        {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_problem_shows_every_field() {
        let response = |body: &str| Response {
            url: base_url("http://pod-1:8081").unwrap(),
            status: StatusCode::BAD_REQUEST,
            body: body.to_owned(),
        };
        let problem = r#"{"title": "Invalid", "detail": "wrong", "errors": [{"field": "limit", "message": "is odd"}]}"#;
        let error = response(problem).success().unwrap_err();
        assert_eq!(error.to_string(), "Invalid: wrong; limit is odd");
        assert!(!error.is_transient());
        let error = response("<html>").success().unwrap_err();
        assert_eq!(error.to_string(), "http://pod-1:8081/: 400 Bad Request, and the response is not the service's");
    }
}
