//! What an error looks like to the client.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::event::Reason;

/// A field of the request and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl From<Reason> for FieldError {
    fn from(Reason { field, rule }: Reason) -> Self {
        Self { field: field.to_owned(), message: rule }
    }
}

/// An error (RFC 7807)
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub struct Body<'a> {
    /// A path under /problems/, documented in docs/problems.md
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) title: &'static str,
    pub(super) status: u16,
    #[schema(value_type = String)]
    pub(super) detail: Cow<'static, str>,
    /// Names the occurrence by the request's id. Not the request's path: it would repeat what the caller sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    pub(super) errors: Option<&'a [FieldError]>,
}
