//! `GET /openapi.json`: the API's description, OpenAPI 3.1, made from the table of routes.
//!
//! A handler's attribute says what is its own. What follows from the route is added here, so that it cannot be
//! forgotten or be wrong: what its arguments read, who may, by which credential, and the problems that may come back.

use std::{collections::BTreeMap, sync::LazyLock};

use actix_web::http::Method;
use serde_json::json;
use utoipa::{
    OpenApi,
    openapi::{
        Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        example::ExampleBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    error::{self, PROBLEM_JSON, Problem},
    routes::{self, Access, Route},
};
use crate::domain::event::Event;

const BEARER: &str = "bearer";
const API_KEY: &str = "apiKey";
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Analytics Service",
        description = "Usage, spend, reliability and freshness of an AI platform's inference, by organisation. \
            Every response carries X-Request-Id. Money is a JSON number with at most twelve decimals: read it as a decimal. \
            Unknown query parameters are an error.",
    ),
    servers((url = "/", description = "The service that this description comes from")),
    components(schemas(error::Body)),
    tags(
        (name = "usage", description = "What an organisation used, what it cost and how well it went"),
        (name = "attribution", description = "What people call the ids of an organisation"),
        (name = "completeness", description = "How complete and how fresh the numbers are"),
        (name = "exports", description = "CSV files for finance"),
        (name = "dead letters", description = "Messages that are no events, and what takes their place"),
        (name = "events", description = "Checking and publishing events"),
        (name = "administration", description = "API keys, the audit log, all organisations"),
        (name = "service", description = "The API itself"),
    )
)]
struct Api;

/// The whole description.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Api::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        BEARER,
        SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build()),
    );
    components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    for (status, problems) in by_status() {
        components.responses.insert(component(status), problem_response(&problems).into());
    }
    for route in routes::rest() {
        let Some(mut description) = route.description.cloned() else { continue };
        for item in description.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            operations.into_iter().flatten().for_each(|operation| complete(operation, &route));
        }
        document.merge(description);
    }
    // Of the statuses that some operation returns: a path that is there returns 405 to methods that no operation stands for.
    let used = json!(document.paths).to_string();
    if let Some(components) = &mut document.components {
        components.responses.retain(|name, _| used.contains(&format!("/{name}\"")));
    }
    document
}

/// Adds what follows from the route.
fn complete(operation: &mut Operation, route: &Route) {
    if !route.parameters.is_empty() {
        let read = route.parameters.iter().cloned().map(RefOr::T);
        operation.parameters.get_or_insert_default().extend(read);
    }
    let access = match route.access {
        Access::Open => "No credential is needed.".to_owned(),
        Access::Authenticated => "Any credential that is accepted.".to_owned(),
        access => {
            let roles: Vec<&str> = access.roles().into_iter().map(|role| role.as_str()).collect();
            format!("Roles: {}.", roles.join(", "))
        }
    };
    let description = operation.description.take().filter(|text| !text.is_empty());
    operation.description = Some(description.map_or(access.clone(), |text| format!("{text}\n\n{access}")));
    if route.access == Access::Open {
        // Said in so many words: it is not forgotten.
        operation.security = Some(Vec::new());
    } else {
        let either = [BEARER, API_KEY].map(|scheme| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []));
        operation.security = Some(either.into());
    }
    let own = operation.responses.responses.keys().filter_map(|status| status.parse().ok());
    let own: Vec<u16> = own.filter(|status| *status >= 400).collect();
    // A body is JSON.
    let media_type = operation.request_body.is_some().then_some(415);
    for status in statuses(route).into_iter().chain(media_type).chain(own) {
        let response = RefOr::Ref(Ref::from_response_name(component(status)));
        operation.responses.responses.insert(status.to_string(), response);
    }
}

/// Statuses of the problems that a route may return; a handler's attribute names what is its own, such as 409.
fn statuses(route: &Route) -> Vec<u16> {
    let mut statuses = vec![400, 500];
    if route.access != Access::Open {
        statuses.extend([401, 429, 503]);
    }
    if !matches!(route.access, Access::Open | Access::Authenticated) {
        statuses.push(403);
    }
    if route.path.replace("{orgId}", "").contains('{') {
        statuses.push(404);
    }
    if matches!(route.method, Method::POST | Method::PUT) {
        statuses.extend([408, 413]);
    }
    statuses
}

/// The response of a status's problems, as a component.
fn component(status: u16) -> String {
    format!("Problem{status}")
}

fn by_status() -> BTreeMap<u16, Vec<Problem>> {
    let mut found: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for problem in Problem::of_each_type() {
        found.entry(problem.status().as_u16()).or_default().push(problem);
    }
    found
}

fn problem_response(problems: &[Problem]) -> Response {
    let examples = problems.iter().map(|problem| {
        let example = ExampleBuilder::new().summary(problem.to_string()).value(Some(problem.example()));
        (problem.slug().to_owned(), RefOr::T(example.build()))
    });
    let content =
        Content::builder().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let titles: Vec<&str> = problems.iter().map(Problem::title).collect();
    let response = ResponseBuilder::new().description(titles.join(", or ")).content(PROBLEM_JSON, content);
    if problems.iter().any(|problem| problem.retry_after().is_some()) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).description(Some("Seconds")).build();
        return response.header("Retry-After", Header::new(seconds)).build();
    }
    response.build()
}

/// The events of the stream: the schema alone.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Analytics events",
        description = "The messages of the stream analytics.usage.v1: JSON, UTF-8, at most 64 KiB. A message that \
            breaks a rule becomes a dead letter with every reason listed. Optional message headers: traceparent links the trace; \
            timestamp_in_ms, or the timestamp property, is the publish time.",
    ),
    components(schemas(Event))
)]
struct Events;

pub fn events() -> utoipa::openapi::OpenApi {
    Events::openapi()
}

/// The same, as it is served: written once, at the first request.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| json!(document()).to_string());
    TEXT.as_str()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::http::StatusCode;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let routes: BTreeSet<(String, String)> =
            routes::rest().iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
        let described: BTreeSet<(String, String)> = document()
            .paths
            .paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)];
                assert!(item.patch.is_none());
                methods
                    .into_iter()
                    .filter(|(_, operation)| operation.is_some())
                    .map(|(m, _)| (path.clone(), m.to_owned()))
            })
            .collect();
        assert_eq!(routes, described);
    }

    #[test]
    fn the_page_lists_every_route() {
        let routes: BTreeSet<String> = routes::rest()
            .iter()
            .chain(&routes::operations_port())
            .map(|route| format!("{} {}", route.method, pattern_free(route.path)))
            .collect();
        let page = std::fs::read_to_string("docs/api.md").unwrap();
        let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let listed: BTreeSet<String> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter(|span| ["GET /", "POST /", "PUT /", "DELETE /"].iter().any(|method| span.starts_with(method)))
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, routes, "docs/api.md on the left, the tables of routes on the right");
    }

    /// `{name:[a-z]+}` without the pattern.
    fn pattern_free(path: &str) -> String {
        let segments = path.split('{').map(|part| match part.split_once('}') {
            Some((name, rest)) => format!("{}}}{rest}", name.split(':').next().unwrap_or_default()),
            None => part.to_owned(),
        });
        segments.collect::<Vec<_>>().join("{")
    }

    #[test]
    fn every_problem_type_has_an_example() {
        let text = json!(document()).to_string();
        let page = std::fs::read_to_string("docs/problems.md").unwrap();
        let mut kinds = BTreeSet::new();
        for problem in Problem::of_each_type() {
            let kind = format!("/problems/{}", problem.slug());
            assert!(text.contains(&kind) || problem.status() == StatusCode::METHOD_NOT_ALLOWED, "{kind}");
            assert!(page.contains(&format!("`{kind}` | {}", problem.status().as_u16())), "{kind}");
            kinds.insert(kind);
        }
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let documented: BTreeSet<String> = rows.map(str::to_owned).collect();
        // Of an error of actix that has no type of its own.
        kinds.insert("/problems/refused".to_owned());
        assert_eq!(documented, kinds, "docs/problems.md on the left");
    }

    #[test]
    fn every_operation_has_summary_and_example() {
        let document = json!(document());
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let what = format!("{method} {path}");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
                let success: Vec<_> =
                    operation["responses"].as_object().unwrap().iter().filter(|(s, _)| s.as_str() < "400").collect();
                assert!(!success.is_empty(), "{what}");
                for (status, response) in success {
                    let json = &response["content"]["application/json"];
                    assert!(
                        json.is_null() || json["example"].is_object() || json["examples"].is_object(),
                        "{what} {status}"
                    );
                }
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{what}: {id}");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["description"].is_string(), "{what} {}", parameter["name"]);
                }
            }
        }
    }
}
