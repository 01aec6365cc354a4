//! Requests, and what is to be seen of their responses.

use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, StatusCode, header::HeaderMap},
    test, web,
};
use serde_json::Value;

use super::{ORG, api_with, token};
use crate::{
    auth::Role,
    http::{Api, api},
};

pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The same of a response of that status.
    pub fn json_of(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that this is a well-formed problem of that status, and gives it.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("/problems/"), "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(problem["instance"], format!("/requests/{}", self.header("x-request-id").unwrap()));
        problem
    }

    /// The fields that a 400 names, in order.
    pub fn wrong_fields(&self) -> Vec<String> {
        let problem = self.problem(400);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors in {problem}"));
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request to an API, with headers.
pub async fn call(state: Api, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    call_with(state, method, path, headers, "").await
}

/// The same with a body.
pub async fn call_with(state: Api, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let app = test::init_service(api(web::Data::new(state))).await;
    let mut request = test::TestRequest::default().method(method).uri(path);
    if !body.is_empty() {
        request = request.set_payload(body.to_owned());
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.append_header(("content-type", "application/json"));
        }
    }
    for (name, value) in headers {
        request = request.append_header((*name, *value));
    }
    read(test::call_service(&app, request.to_request()).await).await
}

pub async fn read(response: ServiceResponse<impl MessageBody>) -> Response {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = test::read_body(response).await;
    Response { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

/// A GET by a viewer of [`ORG`].
pub async fn get(path: &str) -> Response {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    call(api_with(None), Method::GET, path, &[("authorization", &bearer)]).await
}

pub fn usage_path(query: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/usage?{query}")
}
