//! Names: one of a client, and an actor that sets all but one.

use std::collections::BTreeMap;

use actix::{Actor, Context, Handler};

use super::{Fixed, MODEL, at};
use crate::{
    actors::serving::{
        error::QueryError,
        names::{DeleteName, PutName},
        query::{GetName, GetNamesOf, ListNames},
    },
    domain::names::{Name, NamePage, Put},
};

fn name(dimension: &str, id: &str, name: &str) -> Name {
    Name {
        dimension: dimension.to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        updated_at: at("2026-03-02T11:00:00Z"),
        updated_by: "ann".to_owned(),
    }
}

impl Fixed for ListNames {
    /// Names the query by the one name.
    fn response(self) -> NamePage {
        let query = self.0;
        let text = format!("{:?} {:?} {}", query.dimension, query.after, query.limit);
        NamePage { names: vec![name("clientId", "a/b", &text)], more: query.after.is_none() }
    }
}

impl Fixed for GetName {
    /// The client `none` has none.
    fn response(self) -> Option<Name> {
        let of = self.0;
        (of.id != "none").then(|| name(&of.dimension.to_string(), &of.id, "Web shop"))
    }
}

impl Fixed for GetNamesOf {
    /// The clients `web`, and the model, have names.
    fn response(self) -> BTreeMap<(String, String), String> {
        let name = |id: &str| match id {
            "web" => Some("Web shop".to_owned()),
            id => (id == MODEL.to_string()).then(|| "Large".to_owned()),
        };
        self.0.wanted.into_iter().filter_map(|place| Some((place.clone(), name(&place.1)?))).collect()
    }
}

pub struct FixedNames {
    pub error: Option<QueryError>,
}

impl Actor for FixedNames {
    type Context = Context<Self>;
}

impl Handler<PutName> for FixedNames {
    type Result = Result<Put, QueryError>;

    /// There is no room for `one more`. What is recorded is shown as who set it.
    fn handle(&mut self, PutName(new): PutName, _: &mut Self::Context) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        if new.name == "one more" {
            return Ok(Put::TooMany);
        }
        let updated_by = format!("{} {} {}", new.by, new.act.action, new.act.target.unwrap_or_default());
        Ok(Put::Set(Name { updated_by, ..name(&new.of.dimension.to_string(), &new.of.id, &new.name) }))
    }
}

impl Handler<DeleteName> for FixedNames {
    type Result = Result<(), QueryError>;

    fn handle(&mut self, _: DeleteName, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok(()), Err)
    }
}
