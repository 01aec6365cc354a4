//! `GET /analytics/v1/orgs/{orgId}/attribution/values`: the values of a dimension, for those who pick one.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{
        Required,
        path::{Parameter, ParameterIn},
    },
};

use crate::{
    actors::serving::query::GetAttributionValues,
    domain::attribution::{Dimension, ValuesQuery},
    http::{
        Api,
        access::{Authorized, ReadAttribution},
        error::Problem,
        json,
        names::Names,
        params::{Checked, Limit, Parameters, Params, filters::dimension, parameter, text},
    },
};

/// Longest beginning of a value, in bytes: no value that is kept is longer.
const MAX_PREFIX_BYTES: usize = 800;

type ValueLimit = Limit<100, 500>;

/// Which values are requested.
pub struct ValueParams {
    dimension: Dimension,
    prefix: String,
    limit: u16,
}

impl Parameters for ValueParams {
    fn describe() -> Vec<Parameter> {
        let of = "modelId, clientId, actorId, status, errorCode, or meta. and a field of the metadata";
        let prefix = "What values begin with, upper and lower case apart; all without it";
        vec![
            parameter(ParameterIn::Query, "dimension", of, text())
                .required(Required::True)
                .example(Some("clientId".into()))
                .build(),
            parameter(ParameterIn::Query, "prefix", prefix, text()).build(),
            ValueLimit::describe(),
        ]
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let given = params.single("dimension");
        let dimension = given.map_or_else(|| Err("is required".to_owned()), |text| dimension(&text));
        let prefix = params.single("prefix").unwrap_or_default();
        if prefix.len() > MAX_PREFIX_BYTES || prefix.contains('\0') {
            params.problem("prefix", format!("must have at most {MAX_PREFIX_BYTES} bytes, none of them NUL"));
        }
        let limit = ValueLimit::read(params);
        match dimension {
            Ok(dimension) => Some(Self { dimension, prefix, limit }),
            Err(rule) => {
                params.problem("dimension", rule);
                None
            }
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionValues)]
struct Values {
    dimension: String,
    /// In the order of their bytes
    values: Vec<ListedValue>,
    /// Whether there are more: a longer prefix leaves fewer
    more: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionValue)]
struct ListedValue {
    value: String,
    /// What people call it, where it has a name
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
}

/// List the values of a dimension
///
/// Those that attribution has names of, in the order of their bytes: for pickers. What was lost beyond the cap is not among them.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/attribution/values",
    operation_id = "listAttributionValues",
    tag = "attribution",
    responses((
        status = 200,
        description = "The first of them",
        body = Values,
        example = json!({
            "dimension": "clientId", "values": [{"value": "key-17", "name": "Web shop"}, {"value": "key-18"}],
            "more": false
        })
    ))
)]
pub async fn list(
    org: Authorized<ReadAttribution>,
    Checked(params): Checked<ValueParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let ValueParams { dimension, prefix, limit } = params;
    let (org_id, name) = (org.org_id, dimension.to_string());
    let query = ValuesQuery { org_id, dimension, prefix, limit };
    let mut found = api.queries.send(GetAttributionValues(query), api.response_timeout).await?;
    let more = found.len() > usize::from(limit);
    found.truncate(limit.into());
    let ids = found.iter().map(|value| (name.clone(), value.clone())).collect();
    let names = Names::of(&api, org_id, ids).await?;
    let name_of = |value: &str| names.get(&name, value).map(str::to_owned);
    let values = found.into_iter().map(|value| ListedValue { name: name_of(&value), value }).collect();
    Ok(json(&Values { dimension: name, values, more }))
}
