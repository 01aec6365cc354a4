//! Every answer that a test gets from a service is held against the API's description: its status must be one that the
//! operation has, and its body must have the form that is described, with no field that is not.

mod schema;

use std::sync::LazyLock;

use analytics_service::http::openapi;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| json!(openapi::document()));

/// Holds an answer against the description. Paths that it does not have are not its business.
///
/// # Panics
/// The response is not one that the description has.
pub fn check(method: &str, path: &str, status: u16, media_type: Option<&str>, body: &str) {
    let Some((template, operation)) = operation(&method.to_lowercase(), path) else { return };
    let what = format!("{method} {template} answered {status}");
    let response = &operation["responses"][status.to_string().as_str()];
    assert!(!response.is_null(), "{what}, which the description does not have: {body}");
    let response = schema::resolved(&DOCUMENT, response);
    let Some(content) = response["content"].as_object().filter(|_| !body.is_empty()) else { return };
    let media_type = media_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    let form = &content.get(media_type).unwrap_or_else(|| panic!("{what} as {media_type:?}: {body}"))["schema"];
    if !media_type.ends_with("json") {
        return;
    }
    let value: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{what}, {error}: {body}"));
    let problems = schema::problems(&DOCUMENT, form, &value);
    assert!(problems.is_empty(), "{what}, which is not of the described form: {problems:#?}\n{body}");
}

/// The operation of a path: of several templates the one with the fewest parameters.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = paths.iter().filter(|(template, _)| matches(template, path));
    let (template, item) = fits.min_by_key(|(template, _)| template.matches('{').count())?;
    Some((template.as_str(), item.get(method)?))
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    // A key of the object store has slashes in it.
    let rest = template.last() == Some(&"{key}");
    (template.len() == path.len() || (rest && path.len() > template.len()))
        && template.iter().zip(&path).all(|(part, found)| part == found || (part.starts_with('{') && !found.is_empty()))
}
