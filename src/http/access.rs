//! Who may: a handler takes an [`Authorized`] and cannot be reached without the permission it names.

use std::marker::PhantomData;

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use futures_util::{FutureExt, future::LocalBoxFuture};
use utoipa::openapi::path::Parameter;
use uuid::Uuid;

use super::{
    error::Problem,
    gatekeeper::{AuthenticatedRequest, Gatekeeper},
    in_flight::Tenant,
    params::{self, Argument, path_id},
};
use crate::{
    auth::{Permission, Role},
    domain::audit::{AuditEvent, Outcome},
};

/// What an extractor returns.
type Extracted<T> = LocalBoxFuture<'static, Result<T, Problem>>;

/// Authenticates the request's caller, then decides about it.
fn extract<T>(
    request: &HttpRequest,
    decide: impl AsyncFnOnce(HttpRequest, web::Data<Gatekeeper>, AuthenticatedRequest) -> Result<T, Problem> + 'static,
) -> Extracted<T> {
    let request = request.clone();
    async move {
        let gatekeeper = Gatekeeper::of(&request)?;
        let authenticated = gatekeeper.authenticate(&request).await?;
        decide(request, gatekeeper, authenticated).await
    }
    .boxed_local()
}

/// A permission as a type, for [`Authorized`].
pub trait Needs: 'static {
    const PERMISSION: Permission;
}

/// Makes a type of each permission.
macro_rules! types_of {
    ($($permission:ident),* $(,)?) => {$(
        pub struct $permission;

        impl Needs for $permission {
            const PERMISSION: Permission = Permission::$permission;
        }
    )*};
}

types_of!(
    ReadUsage,
    ReadFreshness,
    ReadReliability,
    ReadLedger,
    ReadRevisions,
    ReadSummary,
    ReadDeadLetters,
    ReplayDeadLetters,
    ManageKeys,
    ReadAudit,
    ReadUnreadable,
    PublishEvents,
    ValidateEvents,
    ReadEvents,
    ReadAttribution,
    ReadNames,
    ManageNames,
    ReadExports,
    RequestExports,
);

/// A caller with any credential and any role. The response may have nothing of any org.
pub struct Authenticated {
    pub authenticated: AuthenticatedRequest,
}

impl FromRequest for Authenticated {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async move |_, gatekeeper, authenticated| {
            gatekeeper.limits.credential(&authenticated.caller)?;
            Ok(Self { authenticated })
        })
    }
}

/// The org of the path, for a caller who may do `P` to it. Checked in this order: the credential (401), the org's
/// form (400), the caller's right (403, the same whether the org exists or not), the limits (429). What a system_admin does outside its own
/// orgs is recorded before anything else is done, or not done (503).
pub struct Authorized<P> {
    pub org_id: Uuid,
    pub authenticated: AuthenticatedRequest,
    permission: PhantomData<P>,
}

impl<P: Needs> FromRequest for Authorized<P> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async move |request, gatekeeper, authenticated| {
            let org_id = request.match_info().get("orgId").and_then(params::uuid);
            let org_id = org_id.ok_or_else(|| Problem::field("orgId", params::UUID_FORM))?;
            gatekeeper.admit(&authenticated, P::PERMISSION, &[org_id]).await?;
            request.extensions_mut().insert(Tenant(org_id));
            Ok(Self { org_id, authenticated, permission: PhantomData })
        })
    }
}

/// For a path whose orgs are in the body: a caller who may do `P` to some org. The handler checks each.
pub struct AuthorizedBody<P> {
    gatekeeper: web::Data<Gatekeeper>,
    authenticated: AuthenticatedRequest,
    permission: PhantomData<P>,
}

impl<P: Needs> AuthorizedBody<P> {
    /// Records what a system_admin does outside its own orgs.
    ///
    /// # Errors
    /// One of the orgs is none that the caller may do this to, or what must be recorded cannot be.
    pub async fn allow(&self, orgs: &[Uuid]) -> Result<(), Problem> {
        self.gatekeeper.admit_then(&self.authenticated, P::PERMISSION, orgs).await
    }
}

impl<P: Needs> FromRequest for AuthorizedBody<P> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async move |_, gatekeeper, authenticated| {
            gatekeeper.admit_first(&authenticated, P::PERMISSION)?;
            Ok(Self { gatekeeper, authenticated, permission: PhantomData })
        })
    }
}

/// For a path of no org: a caller who may do `P` anywhere. Each request is recorded before anything is done.
pub struct AuthorizedAnywhere<P> {
    permission: PhantomData<P>,
}

impl<P: Needs> FromRequest for AuthorizedAnywhere<P> {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async move |_, gatekeeper, authenticated| {
            gatekeeper.admit_anywhere(&authenticated, P::PERMISSION).await?;
            Ok(Self { permission: PhantomData })
        })
    }
}

/// An operator, who may change something on the operations port. Gives access to no org's data.
pub struct Operator {
    gatekeeper: web::Data<Gatekeeper>,
    authenticated: AuthenticatedRequest,
}

impl Operator {
    /// The token's subject, for the supervision log.
    pub fn subject(&self) -> String {
        self.authenticated.caller.subject.clone()
    }

    /// Records what is about to be done to an actor.
    ///
    /// # Errors
    /// 503: it must not be done.
    pub async fn record(&self, action: &'static str, actor: &str) -> Result<(), Problem> {
        self.gatekeeper.record(vec![self.authenticated.event(action).target(actor)]).await
    }

    /// What was recorded did not come off.
    pub fn failed(&self, action: &'static str, actor: &str) {
        let event = self.authenticated.event(action).target(actor);
        let failed = AuditEvent { outcome: Outcome::Failed, ..event };
        self.gatekeeper.backlog.refused(failed, self.authenticated.caller.tenant());
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async move |_, gatekeeper, authenticated| {
            if !authenticated.caller.may_operate() {
                let refused = gatekeeper.deny(&authenticated, "actors.operate", None, &[Role::Operator]);
                return Err(refused);
            }
            Ok(Self { gatekeeper, authenticated })
        })
    }
}

impl Argument for Authenticated {}

impl<P: Needs> Argument for Authorized<P> {
    fn parameters() -> Vec<Parameter> {
        vec![path_id("orgId", "Organisation")]
    }
}

impl<P: Needs> Argument for AuthorizedBody<P> {}

impl<P: Needs> Argument for AuthorizedAnywhere<P> {}

impl Argument for Operator {}
