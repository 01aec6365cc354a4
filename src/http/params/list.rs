//! Pages of lists: which one is requested, and where the next one begins.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, SchemaFormat, Type,
        path::{Parameter, ParameterIn},
    },
};
use uuid::Uuid;

use super::{Parameters, Params, cursor, parameter};
use crate::domain::page::{Entry, Page};

/// The parameters `limit`, with its default and its largest value, and `cursor`.
pub struct PageOf<const DEFAULT: u16, const MOST: u16> {
    pub limit: u16,
    /// The entry behind which the page begins.
    pub behind: Option<Uuid>,
}

/// The parameter `limit`.
pub struct Limit<const DEFAULT: u16, const MOST: u16>;

impl<const DEFAULT: u16, const MOST: u16> Limit<DEFAULT, MOST> {
    pub fn describe() -> Parameter {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .minimum(Some(1))
            .maximum(Some(MOST));
        let entries = format!("Entries of a page, {DEFAULT} without it");
        parameter(ParameterIn::Query, "limit", &entries, limit).build()
    }

    pub fn read(params: &mut Params) -> u16 {
        params.number("limit", MOST, DEFAULT)
    }
}

impl<const DEFAULT: u16, const MOST: u16> Parameters for PageOf<DEFAULT, MOST> {
    fn describe() -> Vec<Parameter> {
        vec![Limit::<DEFAULT, MOST>::describe(), cursor::describe()]
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let limit = Limit::<DEFAULT, MOST>::read(params);
        let place = params.single("cursor").map(|text| position(&text));
        if place == Some(None) {
            params.problem("cursor", "must be the nextCursor of an earlier response");
        }
        Some(Self { limit, behind: place.flatten() })
    }
}

/// Where the next page begins
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextPage {
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl<T: Entry> From<&Page<T>> for NextPage {
    fn from(page: &Page<T>) -> Self {
        page.next().into()
    }
}

impl From<Option<Uuid>> for NextPage {
    /// Behind the entry of that id.
    fn from(last: Option<Uuid>) -> Self {
        // In a form that clients are not tempted to calculate with.
        Self { next_cursor: last.map(|id| URL_SAFE_NO_PAD.encode(id)) }
    }
}

fn position(cursor: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_returns_to_its_place() {
        for id in [Uuid::from_u128(1), Uuid::from_u128(77), Uuid::max()] {
            let cursor = NextPage::from(Some(id)).next_cursor.unwrap();
            assert_eq!(position(&cursor), Some(id));
        }
        for text in ["", "1", "AAAAAAAAAAE=", "AAAAAAAAAAAB", "' OR 1=1 --"] {
            assert_eq!(position(text), None, "{text}");
        }
    }
}
