//! Authenticates and authorizes every request on both ports, in this order: the credential, the right,
//! the limits, the audit log.

mod callers;

use std::{net::IpAddr, time::Duration};

use actix_web::{HttpMessage, HttpRequest, web};
use uuid::Uuid;

use super::{client_address::TrustedProxies, console::SessionRefs, error::Problem, limits::Limits, observe::RequestId};
use crate::{
    actors::{
        serving::{
            audit::{Backlog, Record},
            jwks::Refresh,
            keys::Authenticate,
        },
        supervision::actor_ref::ActorRef,
    },
    auth::{Caller, Permission, Role, SecretHash, Verifier},
    config::Settings,
    domain::{
        audit::{Actor, AuditEvent, CredentialKind, Outcome},
        client_network::client_network,
    },
    telemetry::metrics::Metrics,
};

/// Longest that a request waits for the audit log: a little longer than the log's own deadline.
const WAIT_FOR_AUDIT: Duration = Duration::from_millis(900);

/// Clones are the same one.
#[derive(Clone)]
pub struct Gatekeeper {
    pub verifier: Verifier,
    pub proxies: TrustedProxies,
    pub limits: Limits,
    pub backlog: Backlog,
    pub jwks: ActorRef<Refresh>,
    pub keys: ActorRef<Authenticate>,
    pub sessions: SessionRefs,
    pub audit: ActorRef<Record>,
}

/// A request whose credential was accepted.
pub struct AuthenticatedRequest {
    pub caller: Caller,
    /// The caller, as the audit log names it.
    actor: Actor,
}

impl AuthenticatedRequest {
    /// Something that the caller does, for the audit log.
    pub fn event(&self, action: &'static str) -> AuditEvent {
        AuditEvent::new(self.actor.clone(), action, Outcome::Allowed)
    }
}

impl Gatekeeper {
    pub fn new(settings: &Settings, backlog: Backlog, metrics: Metrics) -> Self {
        Self {
            verifier: Verifier::new(&settings.auth),
            proxies: TrustedProxies::new(&settings.http.trusted_proxies()),
            limits: Limits::new(settings, metrics),
            backlog,
            jwks: ActorRef::default(),
            keys: ActorRef::default(),
            sessions: SessionRefs::default(),
            audit: ActorRef::default(),
        }
    }

    /// The gatekeeper of the application that received the request.
    pub fn of(request: &HttpRequest) -> Result<web::Data<Self>, Problem> {
        request.app_data::<web::Data<Self>>().cloned().ok_or(Problem::Internal)
    }

    /// Something that is done without an identity, or by one that is known only when it is done.
    pub fn by_nobody(&self, request: &HttpRequest, action: &'static str) -> AuditEvent {
        AuditEvent::new(self.actor(request, None, CredentialKind::None), action, Outcome::Allowed)
    }

    /// Whether a secret of the console may be looked up for a request.
    ///
    /// # Errors
    /// 429 where its address has presented too many that were refused.
    pub fn may_look_up(&self, request: &HttpRequest, sha256: &SecretHash) -> Result<(), Problem> {
        self.limits.attempts.may_look_up(self.network_of(request), id_of(sha256))
    }

    /// Remembers a session that was just begun as a good one, so that it is looked up whatever else its address presents.
    pub fn begun(&self, sha256: &SecretHash) {
        self.limits.attempts.accepted(id_of(sha256));
    }

    fn network_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.proxies.address_of(request).map(client_network)
    }

    /// Authorizes a caller for these orgs, once its request is counted.
    ///
    /// # Errors
    /// 403 where one of them is not the caller's; 429 where requests about one are too many; 503 where what must be recorded
    /// cannot be.
    pub async fn admit(
        &self,
        authenticated: &AuthenticatedRequest,
        permission: Permission,
        orgs: &[Uuid],
    ) -> Result<(), Problem> {
        self.may(authenticated, permission, orgs)?;
        self.limits.credential(&authenticated.caller)?;
        self.go_on(authenticated, permission, orgs).await
    }

    /// The same in two steps, where the orgs are known later: whether the caller may do this to some org.
    ///
    /// # Errors
    /// 403 where not; 429 where its requests are too many.
    pub fn admit_first(&self, authenticated: &AuthenticatedRequest, permission: Permission) -> Result<(), Problem> {
        self.may_anywhere(authenticated, permission)?;
        self.limits.credential(&authenticated.caller)
    }

    /// And whether to these.
    ///
    /// # Errors
    /// As [`Gatekeeper::admit`].
    pub async fn admit_then(
        &self,
        authenticated: &AuthenticatedRequest,
        permission: Permission,
        orgs: &[Uuid],
    ) -> Result<(), Problem> {
        self.may(authenticated, permission, orgs)?;
        self.go_on(authenticated, permission, orgs).await
    }

    /// Authorizes a caller for what concerns every org, or none.
    ///
    /// # Errors
    /// As [`Gatekeeper::admit`].
    pub async fn admit_anywhere(
        &self,
        authenticated: &AuthenticatedRequest,
        permission: Permission,
    ) -> Result<(), Problem> {
        self.admit_first(authenticated, permission)?;
        self.record(vec![authenticated.event(permission.action())]).await
    }

    fn may(&self, authenticated: &AuthenticatedRequest, permission: Permission, orgs: &[Uuid]) -> Result<(), Problem> {
        match orgs.iter().find(|org_id| !authenticated.caller.may(permission, **org_id)) {
            Some(org_id) => Err(self.deny(authenticated, permission.action(), Some(*org_id), &permission.roles())),
            None => Ok(()),
        }
    }

    fn may_anywhere(&self, authenticated: &AuthenticatedRequest, permission: Permission) -> Result<(), Problem> {
        if authenticated.caller.may_anywhere(permission) {
            return Ok(());
        }
        Err(self.deny(authenticated, permission.action(), None, &permission.roles()))
    }

    async fn go_on(
        &self,
        authenticated: &AuthenticatedRequest,
        permission: Permission,
        orgs: &[Uuid],
    ) -> Result<(), Problem> {
        self.limits.orgs(orgs)?;
        let foreign = orgs.iter().filter(|org_id| !authenticated.caller.org_ids.contains(org_id));
        let events: Vec<AuditEvent> =
            foreign.map(|org_id| authenticated.event(permission.action()).of_org(*org_id)).collect();
        self.record(events).await
    }

    /// Refuses a caller. Where the org is its own, or no org is concerned, the response names the roles that would do; of any
    /// other org it says nothing that would distinguish one that exists from one that does not.
    pub fn deny(
        &self,
        authenticated: &AuthenticatedRequest,
        action: &'static str,
        org_id: Option<Uuid>,
        roles: &[Role],
    ) -> Problem {
        let denied = AuditEvent { outcome: Outcome::Denied, ..authenticated.event(action).of_org(org_id) };
        self.backlog.refused(denied, authenticated.caller.tenant());
        if org_id.is_none_or(|org_id| authenticated.caller.org_ids.contains(&org_id)) {
            Problem::MissingRole(roles.to_vec())
        } else {
            Problem::Forbidden
        }
    }

    /// Records that a file was fetched by a link: who did so is unknown. The file does not wait for the record.
    pub fn fetched(&self, request: &HttpRequest, org_id: Option<Uuid>, key: &str) {
        let anonymous = self.actor(request, None, CredentialKind::None);
        let event = AuditEvent::new(anonymous, "export.fetch", Outcome::Allowed).of_org(org_id).target(key);
        self.backlog.fetched(event);
    }

    /// Records what is about to be done.
    ///
    /// # Errors
    /// 503: it must not be done.
    pub async fn record(&self, events: Vec<AuditEvent>) -> Result<(), Problem> {
        if events.is_empty() {
            return Ok(());
        }
        let audit = self.audit.get().ok_or(Problem::Unavailable)?;
        match audit.send(Record(events)).timeout(WAIT_FOR_AUDIT).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::Unavailable),
        }
    }

    fn actor(&self, request: &HttpRequest, subject: Option<String>, credential: CredentialKind) -> Actor {
        let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
        Actor { subject, credential, roles: Vec::new(), request_id, address: self.proxies.address_of(request) }
    }
}

/// What a secret of the console is remembered by.
fn id_of(sha256: &SecretHash) -> Uuid {
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *sha256;
    Uuid::from_bytes(first)
}
