//! Who may: a handler takes an [`Authorized`] and cannot be reached without the permission it names.

use std::marker::PhantomData;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use futures_util::{FutureExt, future::LocalBoxFuture};
use uuid::Uuid;

use super::{error::Problem, gatekeeper::Gatekeeper, params};
use crate::auth::{Caller, Permission};

/// What an extractor is asked for.
type Asked<T> = LocalBoxFuture<'static, Result<T, Problem>>;

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
    type Future = Asked<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let caller = Gatekeeper::of(&request)?.caller(&request).await?;
            let org_id = request.match_info().get("orgId").and_then(params::uuid);
            let org_id = org_id.ok_or_else(|| Problem::field("orgId", params::UUID_FORM))?;
            if !caller.may(P::PERMISSION, org_id) {
                return Err(Problem::Forbidden);
            }
            Ok(Self { org_id, subject: caller.subject, permission: PhantomData })
        }
        .boxed_local()
    }
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
    type Future = Asked<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Ok(Self { caller: anywhere::<P>(&request).await?, permission: PhantomData }) }.boxed_local()
    }
}

/// A caller who may do `P` to some org.
async fn anywhere<P: Needs>(request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = Gatekeeper::of(request)?.caller(request).await?;
    if caller.may_anywhere(P::PERMISSION) { Ok(caller) } else { Err(Problem::Forbidden) }
}

/// For a path of no org: a caller who may do `P` anywhere.
pub struct AuthorizedAnywhere<P> {
    /// Whom the credential names.
    pub subject: String,
    permission: PhantomData<P>,
}

impl<P: Needs> FromRequest for AuthorizedAnywhere<P> {
    type Error = Problem;
    type Future = Asked<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Ok(Self { subject: anywhere::<P>(&request).await?.subject, permission: PhantomData }) }
            .boxed_local()
    }
}

/// An operator: whoever may change something on the operations port. Tells no org's data.
pub struct Operator {
    /// Whom the token names, for the supervision log.
    pub subject: String,
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Asked<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let caller = Gatekeeper::of(&request)?.caller(&request).await?;
            if caller.may_operate() { Ok(Self { subject: caller.subject }) } else { Err(Problem::Forbidden) }
        }
        .boxed_local()
    }
}
