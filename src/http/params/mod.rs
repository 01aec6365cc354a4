//! What handlers read of a request beside its body: parameters of the query, ids in the path.
//!
//! Each is declared once. A struct of query parameters documents, reads and checks itself ([`QueryParams`]); a handler takes
//! it, or a group of them ([`Parameters`]), as [`Checked`]. The description of an endpoint is made from its handler's arguments ([`Argument`]).

mod choice;
pub mod cursor;
pub mod filters;
mod list;
mod range;
mod reader;

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use utoipa::{
    IntoParams,
    openapi::{
        KnownFormat, ObjectBuilder, Required, SchemaFormat, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};
use uuid::Uuid;

use super::error::Problem;

pub(super) use choice::choices;
pub use choice::{Choice, Filter, words, words_schema};
pub use list::{Limit, NextPage, PageOf};
pub use range::{Days, Hours, RangeReport, ReportParams, ZonedRange};
pub use reader::{Params, UUID_FORM, uuid};

/// What a handler takes: extracted from a request, and documented by the parameters that it is made from.
pub trait Argument: FromRequest + 'static {
    fn parameters() -> Vec<Parameter> {
        Vec::new()
    }
}

impl Argument for HttpRequest {}

impl<T: 'static> Argument for web::Data<T> {}

/// Of the operations port, which is not described.
impl Argument for web::Path<String> {}

/// Where the handler says itself what is wrong.
impl<P: Parameters> Argument for Result<Checked<P>, Problem> {
    fn parameters() -> Vec<Parameter> {
        P::describe()
    }
}

/// Parameters of the query as a struct, which is documented by its fields.
pub trait QueryParams: IntoParams + Sized + 'static {
    /// As [`Parameters::parse`].
    fn read(params: &mut Params) -> Option<Self>;
}

/// All that a handler reads of a request's parameters.
pub trait Parameters: Sized + 'static {
    /// As they are documented. One that is not among them is refused.
    fn describe() -> Vec<Parameter>;

    /// Reads all of them, and notes every problem. `None` only where one was noted.
    fn parse(params: &mut Params) -> Option<Self>;
}

impl<P: QueryParams> Parameters for P {
    fn describe() -> Vec<Parameter> {
        Self::into_params(|| None)
    }

    fn parse(params: &mut Params) -> Option<Self> {
        Self::read(params)
    }
}

/// Groups of parameters, one after the other.
macro_rules! groups {
    ($($group:ident)+) => {
        #[expect(non_snake_case, reason = "each is named as its type")]
        impl<$($group: Parameters),+> Parameters for ($($group,)+) {
            fn describe() -> Vec<Parameter> {
                [$($group::describe()),+].concat()
            }

            fn parse(params: &mut Params) -> Option<Self> {
                $(let $group = $group::parse(params);)+
                Some(($($group?,)+))
            }
        }
    };
}

groups!(A B);
groups!(A B C);

/// For a path that has no parameters.
pub struct NoParams;

impl Parameters for NoParams {
    fn describe() -> Vec<Parameter> {
        Vec::new()
    }

    fn parse(_: &mut Params) -> Option<Self> {
        Some(Self)
    }
}

/// The parameters of a request, in which nothing is wrong. Otherwise all that is goes into one response.
pub struct Checked<P>(pub P);

impl<P: Parameters> FromRequest for Checked<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let of_the_query =
            |parameter: Parameter| (parameter.parameter_in == ParameterIn::Query).then_some(parameter.name);
        let known = P::describe().into_iter().filter_map(of_the_query).collect();
        let mut params = Params::new(request, known);
        let value = P::parse(&mut params);
        ready(params.finish(value).map(Self))
    }
}

impl<P: Parameters> Argument for Checked<P> {
    fn parameters() -> Vec<Parameter> {
        P::describe()
    }
}

/// Documents a parameter that is no field of a struct.
pub fn parameter(place: ParameterIn, name: &str, description: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(description)).schema(Some(schema))
}

/// The schema of a text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Documents an id in a path.
pub fn path_id(name: &str, description: &str) -> Parameter {
    let id = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    parameter(ParameterIn::Path, name, description, id).required(Required::True).build()
}

/// Ids in paths. What one names is found by what its id is written as, and by nothing else.
macro_rules! path_ids {
    ($($type:ident = $name:literal: $description:literal, $missing:literal;)+) => {$(
        pub struct $type(pub Uuid);

        impl $type {
            /// There is nothing of this id.
            pub const MISSING: Problem = Problem::NoSuch($missing);
        }

        impl FromRequest for $type {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(request.match_info().get($name).and_then(uuid).map(Self).ok_or(Self::MISSING))
            }
        }

        impl Argument for $type {
            fn parameters() -> Vec<Parameter> {
                vec![path_id($name, $description)]
            }
        }
    )+};
}

path_ids! {
    LetterId = "id": "The letter's id, from a list", "there is no dead letter of this id";
    KeyId = "keyId": "The key's id", "this organisation has no API key of this id";
    JobId = "jobId": "The job's id", "this organisation has no export of this id";
}
