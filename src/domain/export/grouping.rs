//! What the rows of a file are grouped by.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type},
};

use crate::domain::{attribution::Dimension, named::named};

/// Dimensions of attribution that a file is grouped by at most.
pub const MAX_DIMENSIONS: usize = 3;

named! {
    /// What rows are grouped by, beside their bucket and model.
    #[derive(Default, ToSchema)]
    #[schema(as = ExportGroupBy)]
    pub enum GroupBy {
        /// By nothing more
        #[default]
        Model = "model",
        Client = "client",
        ErrorCode = "errorCode",
    }
}

impl GroupBy {
    /// The column that a file has for it.
    pub const fn column(self) -> Option<&'static str> {
        match self {
            Self::Model => None,
            Self::Client => Some("client_id"),
            Self::ErrorCode => Some("error_code"),
        }
    }
}

/// What rows are grouped by, beside their bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// By model, and perhaps by what raw events know.
    By(GroupBy),
    /// By dimensions of attribution: one to three, each once.
    Dimensions(Vec<Dimension>),
}

impl Default for Grouping {
    fn default() -> Self {
        Self::By(GroupBy::default())
    }
}

impl Grouping {
    pub fn dimensions(&self) -> &[Dimension] {
        match self {
            Self::By(_) => &[],
            Self::Dimensions(dimensions) => dimensions,
        }
    }

    /// What has names in a file that has any, in the order of its columns.
    pub fn nameable(&self) -> Vec<Dimension> {
        match self {
            Self::By(GroupBy::Client) => vec![Dimension::Model, Dimension::Client],
            Self::By(GroupBy::Model | GroupBy::ErrorCode) => vec![Dimension::Model],
            Self::Dimensions(dimensions) => dimensions.iter().filter(|of| of.is_nameable()).cloned().collect(),
        }
    }
}

/// The column that a file has for a dimension.
pub fn column(dimension: &Dimension) -> Cow<'static, str> {
    match dimension {
        Dimension::Model => "model_id".into(),
        Dimension::Client => "client_id".into(),
        Dimension::Actor => "actor_id".into(),
        Dimension::Status => "status".into(),
        Dimension::ErrorCode => "error_code".into(),
        Dimension::Meta(_) => dimension.name(),
    }
}

/// A word, or a list of dimensions.
impl Serialize for Grouping {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::By(group_by) => group_by.serialize(to),
            Self::Dimensions(dimensions) => to.collect_seq(dimensions.iter().map(Dimension::name)),
        }
    }
}

impl PartialSchema for Grouping {
    fn schema() -> RefOr<Schema> {
        let dimension = ObjectBuilder::new().schema_type(Type::String);
        let dimensions = ArrayBuilder::new().items(dimension).min_items(Some(1)).max_items(Some(MAX_DIMENSIONS));
        OneOfBuilder::new()
            .item(GroupBy::schema())
            .item(dimensions)
            .description(Some("A word, or one to three dimensions of attribution"))
            .into()
    }
}

impl ToSchema for Grouping {
    fn name() -> Cow<'static, str> {
        "ExportGrouping".into()
    }
}
