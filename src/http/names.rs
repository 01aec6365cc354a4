//! `/analytics/v1/orgs/{orgId}/names`: what people call an org's ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, web};
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{
        Required,
        path::{Parameter, ParameterIn},
    },
};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ManageNames, ReadNames},
    error::Problem,
    json,
    json_body::JsonBody,
    params::{self, Argument, Checked, Limit, NoParams, Parameters, Params, cursor, parameter},
    send::send,
};
use crate::{
    actors::{
        serving::{
            names::{DeleteName, PutName, SetName},
            query::{GetName, GetNamesOf, ListNames},
        },
        supervision::actor_ref::ActorRef,
    },
    domain::names::{DIMENSION_FORM, Name, NamePlace, Nameable, Named, NamesOf, NamesQuery, NewName, Put},
};

/// The actor that changes names, by its messages.
#[derive(Clone, Default)]
pub struct NameRefs {
    pub put: ActorRef<PutName>,
    pub delete: ActorRef<DeleteName>,
}

/// What people call the ids of a response, by dimension: those that have a name.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = NamesOfIds)]
pub struct Names(BTreeMap<String, BTreeMap<String, String>>);

impl Names {
    /// Of some of an org's ids.
    pub async fn of(api: &Api, org_id: Uuid, wanted: BTreeSet<NamePlace>) -> Result<Self, Problem> {
        let mut names = Self::default();
        if wanted.is_empty() {
            return Ok(names);
        }
        let wanted = wanted.into_iter().collect();
        let found = api.queries.send(GetNamesOf(NamesOf { org_id, wanted }), api.response_timeout).await?;
        for ((dimension, id), name) in found {
            names.0.entry(dimension).or_default().insert(id, name);
        }
        Ok(names)
    }

    pub fn get(&self, dimension: &str, id: &str) -> Option<&str> {
        self.0.get(dimension)?.get(id).map(String::as_str)
    }

    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts of a path that say what has the name, as they were sent.
#[derive(Deserialize)]
pub struct NamedPath {
    dimension: String,
    id: String,
}

impl NamedPath {
    fn of(&self, org_id: Uuid) -> Result<Named, Problem> {
        Named::read(org_id, &self.dimension, &self.id).map_err(Problem::of_reasons)
    }
}

impl FromRequest for NamedPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Decoded here, since an id may have a slash or a percent sign.
        let path = web::Path::<Self>::from_request(request, payload).into_inner();
        ready(path.map(web::Path::into_inner).map_err(|_| Problem::NotFound))
    }
}

impl Argument for NamedPath {
    fn parameters() -> Vec<Parameter> {
        let part = |name, description: &str, form| {
            parameter(ParameterIn::Path, name, description, form).required(Required::True).build()
        };
        let dimension = params::text().pattern(Some(r"^(orgId|modelId|clientId|actorId|meta\..+)$"));
        vec![
            part("dimension", "orgId, modelId, clientId, actorId or meta.<key>", dimension),
            part("id", "The id or value, percent-encoded, at most 200 characters", params::text()),
        ]
    }
}

/// Which names are requested.
pub struct NameParams {
    dimension: Option<String>,
    limit: u16,
    after: Option<NamePlace>,
}

type NamesLimit = Limit<100, 1000>;

impl Parameters for NameParams {
    fn describe() -> Vec<Parameter> {
        let dimension = "Only names of this dimension: orgId, modelId, clientId, actorId or meta.<key>";
        vec![
            parameter(ParameterIn::Query, "dimension", dimension, params::text()).build(),
            NamesLimit::describe(),
            cursor::describe(),
        ]
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let dimension = params.single("dimension");
        if dimension.as_deref().is_some_and(|text| Nameable::read(text).is_none()) {
            params.problem("dimension", DIMENSION_FORM);
        }
        Some(Self {
            dimension,
            limit: NamesLimit::read(params),
            after: cursor::read(params, |place| {
                place.try_into().ok().map(|[dimension, id]: [String; 2]| (dimension, id))
            }),
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = NamePage)]
#[serde(rename_all = "camelCase")]
struct Page {
    names: Vec<Name>,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// List the names of an organisation, by dimension and id
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/names",
    operation_id = "listNames",
    tag = "attribution",
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"names": [{
            "dimension": "clientId", "id": "key-17", "name": "Web shop", "updatedAt": "2026-03-02T11:00:00Z",
            "updatedBy": "ann"
        }]})
    ))
)]
pub async fn list(
    org: Authorized<ReadNames>,
    Checked(NameParams { dimension, limit, after }): Checked<NameParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = NamesQuery { org_id: org.org_id, dimension, after, limit };
    let found = api.queries.send(ListNames(query), api.response_timeout).await?;
    let next_cursor =
        found.names.last().filter(|_| found.more).map(|last| cursor::encode(&[&last.dimension, &last.id]));
    Ok(json(&Page { names: found.names, next_cursor }))
}

/// Show a name
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}",
    operation_id = "getName",
    tag = "attribution",
    responses((
        status = 200,
        description = "The name",
        body = Name,
        example = json!({
            "dimension": "clientId", "id": "key-17", "name": "Web shop", "updatedAt": "2026-03-02T11:00:00Z",
            "updatedBy": "ann"
        })
    ))
)]
pub async fn get(
    org: Authorized<ReadNames>,
    path: NamedPath,
    _: Checked<NoParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let found = api.queries.send(GetName(path.of(org.org_id)?), api.response_timeout).await?;
    found.map(|name| json(&name)).ok_or(Problem::NoSuch("no name is set for this id"))
}

/// Set a name
///
/// For people: wherever the id is shown, the name is beside it. Setting it again replaces it. Of persons it is deleted with the person's
/// data, and all names with the organisation's.
#[utoipa::path(
    put,
    path = "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}",
    operation_id = "setName",
    tag = "attribution",
    request_body(content = NewName, description = "The name"),
    responses(
        (
            status = 200,
            description = "The name, set",
            body = Name,
            example = json!({
                "dimension": "clientId", "id": "key-17", "name": "Web shop", "updatedAt": "2026-03-02T11:00:00Z",
                "updatedBy": "ann"
            })
        ),
        (status = 409, description = "The organisation has as many names as it may")
    )
)]
pub async fn put(
    org: Authorized<ManageNames>,
    path: NamedPath,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let of = path.of(org.org_id)?;
    let NewName { name } = NewName::read(&body).map_err(Problem::of_reasons)?;
    let act = org.authenticated.event("name.set").of_org(org.org_id).target(of.for_the_record());
    let new = SetName { of, name, by: org.authenticated.caller.subject, act };
    match send(&api.names.put, PutName(new), api.response_timeout).await? {
        Put::Set(name) => Ok(json(&name)),
        Put::TooMany => Err(Problem::TooManyNames),
    }
}

/// Delete a name
///
/// The id is shown alone from then on. Where there is no name, nothing changes.
#[utoipa::path(
    delete,
    path = "/analytics/v1/orgs/{orgId}/names/{dimension}/{id}",
    operation_id = "deleteName",
    tag = "attribution",
    responses((status = 204, description = "There is no name"))
)]
pub async fn delete(
    org: Authorized<ManageNames>,
    path: NamedPath,
    _: Checked<NoParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let of = path.of(org.org_id)?;
    let act = org.authenticated.event("name.delete").of_org(org.org_id).target(of.for_the_record());
    send(&api.names.delete, DeleteName { of, act }, api.response_timeout).await?;
    Ok(HttpResponse::NoContent().finish())
}
