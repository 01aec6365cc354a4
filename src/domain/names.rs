//! Names for people: what an org calls its models, clients, persons, teams and itself.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    attribution::Dimension,
    event::{MAX_TEXT_CHARS, Reason},
    json,
};

/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Names of an org at most: some megabytes.
pub const MAX_NAMES: u32 = 20_000;

/// What may have names, written as the field of an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nameable {
    Org,
    /// Models, clients, persons, and keys of metadata such as team.
    Of(Dimension),
}

impl Nameable {
    pub fn read(text: &str) -> Option<Self> {
        if text == "orgId" {
            return Some(Self::Org);
        }
        let dimension: Dimension = text.parse().ok()?;
        (dimension.is_nameable() && !text.contains('\0')).then_some(Self::Of(dimension))
    }
}

impl fmt::Display for Nameable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Org => f.write_str("orgId"),
            Self::Of(dimension) => dimension.fmt(f),
        }
    }
}

pub const DIMENSION_FORM: &str = "must be orgId, modelId, clientId, actorId or meta.<key>";

/// One of an org's things that has a name or may have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub org_id: Uuid,
    pub dimension: Nameable,
    /// Of ids that are UUIDs: hyphenated, in lower case.
    pub id: String,
}

impl Named {
    /// # Errors
    /// The rules that the dimension or the id breaks.
    pub fn read(org_id: Uuid, dimension: &str, id: &str) -> Result<Self, Vec<Reason>> {
        let wrong = |field, rule: &str| vec![Reason { field, rule: rule.to_owned() }];
        let dimension = Nameable::read(dimension).ok_or_else(|| wrong("dimension", DIMENSION_FORM))?;
        let is_uuid = matches!(dimension, Nameable::Org | Nameable::Of(Dimension::Model | Dimension::Actor));
        let id = if is_uuid {
            let id = Uuid::try_parse(id).ok().filter(|_| id.len() == uuid::fmt::Hyphenated::LENGTH);
            id.ok_or_else(|| wrong("id", "must be a UUID"))?.to_string()
        } else if is_text(id, MAX_TEXT_CHARS) {
            id.to_owned()
        } else {
            return Err(wrong("id", "must have 1 to 200 characters, none of them NUL"));
        };
        if dimension == Nameable::Org && id != org_id.to_string() {
            return Err(wrong("id", "must be the organisation itself"));
        }
        Ok(Self { org_id, dimension, id })
    }

    /// For the audit log, which keeps no person's id.
    pub fn for_the_record(&self) -> String {
        match self.dimension {
            Nameable::Of(Dimension::Actor) => self.dimension.to_string(),
            _ => format!("{}/{}", self.dimension, self.id),
        }
    }
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.contains('\0')
}

/// A name that is to be set
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct NewName {
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
}

impl NewName {
    /// Reads a request's body.
    ///
    /// # Errors
    /// Every rule that it breaks.
    pub fn read(body: &[u8]) -> Result<Self, Vec<Reason>> {
        let fields = json::object(body).map_err(|reason| vec![reason])?;
        let mut reasons = Vec::new();
        let mut wrong = |field, rule: &str| reasons.push(Reason { field, rule: rule.to_owned() });
        if fields.keys().any(|name| name != "name") {
            wrong("body", "must have no other field than name");
        }
        let name = fields.get("name").and_then(Value::as_str).map(str::trim);
        let fits = |name: &&str| is_text(name, MAX_NAME) && !name.chars().any(char::is_control);
        let name = name.filter(fits);
        if name.is_none() {
            wrong("name", "must have 1 to 200 characters, none of them a control character");
        }
        match name {
            Some(name) if reasons.is_empty() => Ok(Self { name: name.to_owned() }),
            _ => Err(reasons),
        }
    }
}

/// What something is called
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    /// orgId, modelId, clientId, actorId or meta.<key>
    pub dimension: String,
    pub id: String,
    pub name: String,
    pub updated_at: DateTime<Utc>,
    /// The subject that set it
    pub updated_by: String,
}

/// What became of a name that was to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    Set(Name),
    /// The org has as many names as it may.
    TooMany,
}

/// Where a list of names continues: behind this dimension and id.
pub type NamePlace = (String, String);

/// A page of an org's names, in the order of dimension and id.
#[derive(Clone, Debug)]
pub struct NamesQuery {
    pub org_id: Uuid,
    /// Of one dimension; all without it.
    pub dimension: Option<String>,
    pub after: Option<NamePlace>,
    pub limit: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePage {
    pub names: Vec<Name>,
    /// There are more behind these.
    pub more: bool,
}

/// The names of some of an org's things: pairs of dimension and id.
#[derive(Clone, Debug)]
pub struct NamesOf {
    pub org_id: Uuid,
    pub wanted: Vec<NamePlace>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: Uuid = Uuid::from_u128(0xA);

    #[test]
    fn a_dimension_is_read_as_it_is_written() {
        for text in ["orgId", "modelId", "clientId", "actorId", "meta.team", "meta.a.b", "meta.🙂\"'", "meta. "] {
            assert_eq!(Nameable::read(text).unwrap().to_string(), text);
        }
        for text in
            ["", "status", "errorCode", "meta", "meta.", "meta.a\0", "ModelId", &format!("meta.{}", "k".repeat(201))]
        {
            assert_eq!(Nameable::read(text), None, "{text}");
        }
    }

    #[test]
    fn ids_have_the_form_of_their_dimension() {
        let upper = "123E4567-E89B-12D3-A456-426614174000";
        assert_eq!(Named::read(ORG, "actorId", upper).unwrap().id, upper.to_lowercase());
        assert_eq!(Named::read(ORG, "clientId", upper).unwrap().id, upper);
        assert!(Named::read(ORG, "orgId", &ORG.to_string()).is_ok());
        for (dimension, id, field) in [
            ("orgId", upper, "id"),
            ("modelId", "gpt", "id"),
            ("modelId", &upper.replace('-', ""), "id"),
            ("clientId", "", "id"),
            ("clientId", &"c".repeat(201), "id"),
            ("meta.team", "a\0b", "id"),
            ("teams", "a", "dimension"),
        ] {
            let reasons = Named::read(ORG, dimension, id).unwrap_err();
            assert_eq!(reasons.iter().map(|reason| reason.field).collect::<Vec<_>>(), [field], "{dimension} {id}");
        }
    }

    #[test]
    fn the_record_names_no_person() {
        let of = |dimension, id: &str| Named::read(ORG, dimension, id).unwrap().for_the_record();
        assert_eq!(of("actorId", &ORG.to_string()), "actorId");
        assert_eq!(of("clientId", "web"), "clientId/web");
    }

    #[test]
    fn a_name_is_one_line_of_text() {
        assert_eq!(NewName::read(br#"{"name": "  The Web \u00e9 "}"#).unwrap().name, "The Web é");
        for body in [
            "{}",
            r#"{"name": ""}"#,
            r#"{"name": "  "}"#,
            r#"{"name": null}"#,
            r#"{"name": "a\nb"}"#,
            r#"{"name": "a\u0000"}"#,
            r#"{"name": "a", "id": "b"}"#,
            r#"["a"]"#,
            "",
            &format!(r#"{{"name": "{}"}}"#, "n".repeat(201)),
        ] {
            assert!(NewName::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
