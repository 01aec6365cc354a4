//! Who may: a handler takes an [`Authorized`] and cannot be reached without the permission it names.

use std::{
    future::{Ready, ready},
    marker::PhantomData,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web};
use uuid::Uuid;

use super::{Api, Ops, error::Problem, params};
use crate::auth::{Caller, Permission, Refusal, Verifier};

/// A permission as a type, for [`Authorized`].
pub trait Needs {
    const PERMISSION: Permission;
}

pub struct ReadUsage;

impl Needs for ReadUsage {
    const PERMISSION: Permission = Permission::ReadUsage;
}

pub struct ReadFreshness;

impl Needs for ReadFreshness {
    const PERMISSION: Permission = Permission::ReadFreshness;
}

pub struct ReadReliability;

impl Needs for ReadReliability {
    const PERMISSION: Permission = Permission::ReadReliability;
}

pub struct ReadLedger;

impl Needs for ReadLedger {
    const PERMISSION: Permission = Permission::ReadLedger;
}

pub struct ReadSummary;

impl Needs for ReadSummary {
    const PERMISSION: Permission = Permission::ReadSummary;
}

pub struct ReadDeadLetters;

impl Needs for ReadDeadLetters {
    const PERMISSION: Permission = Permission::ReadDeadLetters;
}

pub struct ReplayDeadLetters;

impl Needs for ReplayDeadLetters {
    const PERMISSION: Permission = Permission::ReplayDeadLetters;
}

pub struct ReadUnreadable;

impl Needs for ReadUnreadable {
    const PERMISSION: Permission = Permission::ReadUnreadable;
}

/// The org of the path, for a caller who may do `P` to it. Checked in this order: the credential (401), the org's
/// form (400), the caller's right (403, the same whether the org exists or not).
pub struct Authorized<P> {
    pub org_id: Uuid,
    /// Whom the credential names.
    pub subject: String,
    permission: PhantomData<P>,
}

impl<P: Needs> FromRequest for Authorized<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let authorized = authorize(request, P::PERMISSION);
        ready(authorized.map(|(org_id, subject)| Self { org_id, subject, permission: PhantomData }))
    }
}

fn authorize(request: &HttpRequest, permission: Permission) -> Result<(Uuid, String), Problem> {
    let caller = caller(request)?;
    let org_id = request.match_info().get("orgId").and_then(params::uuid);
    let org_id = org_id.ok_or_else(|| Problem::field("orgId", params::UUID_FORM))?;
    if caller.may(permission, org_id) { Ok((org_id, caller.subject)) } else { Err(Problem::Forbidden) }
}

pub struct PublishEvents;

impl Needs for PublishEvents {
    const PERMISSION: Permission = Permission::PublishEvents;
}

/// For a path whose orgs are in the body: a caller who may do `P` to some org. The handler asks for each.
pub struct AuthorizedBody<P> {
    caller: Caller,
    permission: PhantomData<P>,
}

impl<P: Needs> AuthorizedBody<P> {
    /// # Errors
    /// One of the orgs is none that the caller may do this to.
    pub async fn allow(&self, orgs: &[Uuid]) -> Result<(), Problem> {
        if orgs.iter().all(|org_id| self.caller.may(P::PERMISSION, *org_id)) { Ok(()) } else { Err(Problem::Forbidden) }
    }
}

impl<P: Needs> FromRequest for AuthorizedBody<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).and_then(|caller| {
            if caller.may_anywhere(P::PERMISSION) {
                Ok(Self { caller, permission: PhantomData })
            } else {
                Err(Problem::Forbidden)
            }
        }))
    }
}

/// For a path of no org: a caller who may do `P` anywhere.
pub struct AuthorizedAnywhere<P> {
    /// Whom the credential names.
    pub subject: String,
    permission: PhantomData<P>,
}

impl<P: Needs> FromRequest for AuthorizedAnywhere<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).and_then(|caller| {
            if caller.may_anywhere(P::PERMISSION) {
                Ok(Self { subject: caller.subject, permission: PhantomData })
            } else {
                Err(Problem::Forbidden)
            }
        }))
    }
}

fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    let api = request.app_data::<web::Data<Api>>().ok_or(Problem::Internal)?;
    authenticate(&api.verifier, request).map_err(refused)
}

/// An operator: whoever may change something on the operations port. Tells no org's data.
pub struct Operator {
    /// Whom the token names, for the supervision log.
    pub subject: String,
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(operator(request))
    }
}

fn operator(request: &HttpRequest) -> Result<Operator, Problem> {
    let ops = request.app_data::<web::Data<Ops>>().ok_or(Problem::Internal)?;
    let caller = authenticate(&ops.verifier, request).map_err(refused)?;
    if caller.may_operate() { Ok(Operator { subject: caller.subject }) } else { Err(Problem::Forbidden) }
}

fn refused(refusal: Refusal) -> Problem {
    tracing::info!(reason = %refusal, "a credential was refused");
    Problem::Unauthorized { presented: refusal != Refusal::Missing }
}

fn authenticate(verifier: &Verifier, request: &HttpRequest) -> Result<Caller, Refusal> {
    let mut credentials = request.headers().get_all(AUTHORIZATION);
    let credential = credentials.next().ok_or(Refusal::Missing)?;
    if credentials.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let text = credential.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed);
    }
    verifier.verify(token.trim())
}
