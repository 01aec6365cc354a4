//! Parameters that are one of a few words.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::{attribution, audit, calendar, dead_letter, export, revision, summary};

/// One of a few words: what is read is what is documented.
pub trait Choice: Copy + 'static {
    /// Each word and what it means. The first is meant where the parameter is not given.
    fn words() -> Vec<(&'static str, Self)>;
}

/// Of domain types that know their words.
macro_rules! known_words {
    ($($type:ty),+) => {$(
        impl Choice for $type {
            fn words() -> Vec<(&'static str, Self)> {
                Self::ALL.map(|value| (value.as_str(), value)).into()
            }
        }
    )+};
}

known_words!(
    attribution::OrderBy,
    audit::Outcome,
    dead_letter::State,
    export::Status,
    revision::Reason,
    summary::OrderBy
);

impl Choice for bool {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("true", true), ("false", false)]
    }
}

/// The schema of a choice.
pub fn words_schema<T: Choice>() -> RefOr<Schema> {
    words::<T>().into()
}

/// The same, to be completed.
pub fn words<T: Choice>() -> ObjectBuilder {
    let words = T::words().into_iter().map(|(word, _)| word);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

/// Schemas of domain types that responses have too: each once, under its name.
macro_rules! named_schemas {
    ($($type:ty: $name:literal, $description:literal;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                words::<Self>().description(Some($description)).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )+};
}

named_schemas! {
    attribution::OrderBy: "AttributionOrderBy", "What groups are ordered by, largest first.";
    audit::Outcome: "AuditOutcome", "What came of it.";
    calendar::Granularity: "Granularity", "Length of a bucket.";
    dead_letter::State: "DeadLetterState", "How far a rejected message has come.";
    export::Status: "ExportStatus", "How far a job has come.";
    revision::Reason: "RevisionReason", "Why a bucket changed.";
}

/// Only one of a list's kinds, or all of them, which `None` stands for.
#[derive(Clone, Copy)]
pub struct Filter<T>(pub Option<T>);

impl<T: Choice> Choice for Filter<T> {
    fn words() -> Vec<(&'static str, Self)> {
        let one = T::words().into_iter().map(|(word, value)| (word, Self(Some(value))));
        [("all", Self(None))].into_iter().chain(one).collect()
    }
}

impl<T: Choice> PartialSchema for Filter<T> {
    fn schema() -> RefOr<Schema> {
        words_schema::<Self>()
    }
}

/// An enum of the API's own that is a [`Choice`], and is written and described by the same words.
macro_rules! choices {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
        $vis enum $name {
            $(#[serde(rename = $word)] $variant),+
        }

        impl $crate::http::params::Choice for $name {
            fn words() -> Vec<(&'static str, Self)> {
                vec![$(($word, Self::$variant)),+]
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::http::params::words_schema::<Self>()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
pub(crate) use choices;
