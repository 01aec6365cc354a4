//! Filters by dimensions of attribution.

use std::collections::BTreeSet;

use utoipa::{IntoParams, openapi::path::Parameter};
use uuid::Uuid;

use super::{Parameters, Params, UUID_FORM, uuid};
use crate::domain::{
    attribution::{Dimension, Filter},
    event::Status,
};

/// Values of one dimension that are filtered by at most.
const MAX_VALUES: usize = 100;
/// Dimensions that are filtered by at most: no set has more.
const MAX_FILTERS: usize = 6;

/// As they are described; what is read of them is [`Filters`].
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "the fields are the description")]
struct FilterParams {
    /// Only events of these clients
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    client_id: Vec<String>,
    /// Only events of these persons
    #[param(value_type = Option<Vec<Uuid>>, max_items = 100)]
    actor_id: Vec<Uuid>,
    /// Only events that ended so
    #[param(value_type = Option<Vec<Status>>, max_items = 100)]
    status: Vec<Status>,
    /// Only events with these codes
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    error_code: Vec<String>,
    /// Only events with these values of a field of the metadata, such as meta.team=search
    #[param(rename = "meta.{key}", value_type = Option<Vec<String>>, max_items = 100)]
    meta: Vec<String>,
    /// Only events without this field; with values of the same field: with one of them, or without
    #[param(value_type = Option<Vec<String>>, example = json!(["clientId"]))]
    unset: Vec<Dimension>,
}

/// Those beside models, which every report has.
pub struct Filters(pub Vec<Filter>);

impl Parameters for Filters {
    fn describe() -> Vec<Parameter> {
        FilterParams::into_params(|| None)
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let [_model, others @ ..] = Dimension::FIELDS;
        Some(Self(of(params, &others)))
    }
}

/// The parameter that a filter was given by.
pub fn field(filter: &Filter) -> String {
    match &filter.dimension {
        _ if filter.values.is_empty() => "unset".to_owned(),
        // Anything may stand in its name.
        Dimension::Meta(_) => "meta".to_owned(),
        dimension => dimension.to_string(),
    }
}

/// Those that a parameter names. What is none is a problem.
pub fn dimensions(params: &mut Params, name: &str) -> Vec<Dimension> {
    let mut found = Vec::new();
    for text in params.texts(name) {
        match dimension(&text) {
            Ok(dimension) => found.push(dimension),
            Err(rule) => params.wrong_value(name, &text, rule),
        }
    }
    found
}

pub fn dimension(text: &str) -> Result<Dimension, String> {
    let dimension: Dimension = text.parse().map_err(|error| format!("{error}"))?;
    // No stored name has one.
    if text.contains('\0') { Err("must not have a NUL".to_owned()) } else { Ok(dimension) }
}

/// Those of these fields, and of the metadata where it is a parameter.
pub fn of(params: &mut Params, fields: &[Dimension]) -> Vec<Filter> {
    let unset = dimensions(params, "unset");
    let mut given: BTreeSet<Dimension> = fields.iter().filter(|of| params.has(&of.name())).cloned().collect();
    for name in params.names_that_begin(Dimension::META) {
        match dimension(&name) {
            Ok(dimension) => drop(given.insert(dimension)),
            Err(rule) => params.problem("meta", rule),
        }
    }
    let wanted: BTreeSet<Dimension> = given.iter().chain(&unset).cloned().collect();
    if wanted.len() > MAX_FILTERS {
        params.problem("unset", format!("must leave at most {MAX_FILTERS} fields that are filtered by"));
        return Vec::new();
    }
    let filter = |dimension: Dimension| {
        // What is only unset may be no parameter.
        let is_given = given.contains(&dimension);
        let values = if is_given { values(params, &dimension, &dimension.name()) } else { BTreeSet::new() };
        Filter { unset: unset.contains(&dimension), dimension, values }
    };
    wanted.into_iter().map(filter).collect()
}

/// Values as events have them.
fn values(params: &mut Params, dimension: &Dimension, name: &str) -> BTreeSet<String> {
    let texts = params.texts(name);
    if texts.len() > MAX_VALUES {
        params.problem(name, format!("must be given at most {MAX_VALUES} times"));
        return BTreeSet::new();
    }
    let mut found = BTreeSet::new();
    for text in texts {
        match value(dimension, &text) {
            Ok(value) => drop(found.insert(value)),
            Err(rule) => params.wrong_value(name, &text, rule),
        }
    }
    found
}

fn value(dimension: &Dimension, text: &str) -> Result<String, &'static str> {
    match dimension {
        Dimension::Model | Dimension::Actor => uuid(text).map(|id: Uuid| id.to_string()).ok_or(UUID_FORM),
        Dimension::Status => {
            let status: Option<Status> = text.parse().ok();
            status.map(|status| status.to_string()).ok_or("must be success, error, timeout or throttled")
        }
        Dimension::Client | Dimension::ErrorCode | Dimension::Meta(_) if text.contains('\0') => {
            Err("must not have a NUL")
        }
        Dimension::Client | Dimension::ErrorCode | Dimension::Meta(_) => Ok(text.to_owned()),
    }
}
