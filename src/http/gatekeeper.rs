//! Authenticates and authorizes every request on both ports, in this order: the credential, the right,
//! the limits, the audit log.

use std::{net::IpAddr, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{AUTHORIZATION, HeaderName},
    web,
};
use uuid::Uuid;

use super::{
    client_address::TrustedProxies,
    error::{Problem, Unaccepted},
    in_flight::Tenant,
    limits::Limits,
    observe::RequestId,
};
use crate::{
    actors::{
        serving::{
            audit::{Backlog, Record},
            jwks::Refresh,
            keys::Authenticate,
        },
        supervision::actor_ref::ActorRef,
    },
    auth::{Caller, Permission, PresentedKey, Refusal, Role, Verifier},
    config::Settings,
    domain::{
        api_key::{KeyCheck, KeyState},
        audit::{Actor, AuditEvent, CredentialKind, Outcome},
        client_network::client_network,
    },
    telemetry::metrics::Metrics,
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Longest that a request waits for the key set to be read again, when it names a key that is not there.
const WAIT_FOR_KEYS: Duration = Duration::from_millis(500);
/// Longest that a request waits for its API key to be looked up.
const WAIT_FOR_KEY: Duration = Duration::from_millis(900);
/// Longest that a request waits for the audit log: a little longer than the log's own deadline.
const WAIT_FOR_AUDIT: Duration = Duration::from_millis(900);

/// What is recorded of a credential that is refused.
const AUTHENTICATE: &str = "authenticate";

/// Clones are the same one.
#[derive(Clone)]
pub struct Gatekeeper {
    pub verifier: Verifier,
    pub proxies: TrustedProxies,
    pub limits: Limits,
    pub backlog: Backlog,
    pub jwks: ActorRef<Refresh>,
    pub keys: ActorRef<Authenticate>,
    pub audit: ActorRef<Record>,
}

/// Why a request is not authenticated.
enum AuthenticationFailure {
    Refused(Refusal),
    /// Its address has presented too many that were refused.
    Limited(Problem),
    /// A key that was revoked or has expired. Its secret was right, so the refusal is recorded for that key.
    Ended {
        key_id: Uuid,
        org_id: Uuid,
        state: KeyState,
    },
    /// Whether the credential is good cannot be known now.
    Unknown,
}

impl From<Refusal> for AuthenticationFailure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // The token may well be good: its issuer's keys are not known yet, or not any more.
            Refusal::KeysAway => Self::Unknown,
            refusal => Self::Refused(refusal),
        }
    }
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
            audit: ActorRef::default(),
        }
    }

    /// The gatekeeper of the application that received the request.
    pub fn of(request: &HttpRequest) -> Result<web::Data<Self>, Problem> {
        request.app_data::<web::Data<Self>>().cloned().ok_or(Problem::Internal)
    }

    /// Whose credential the request carries.
    ///
    /// # Errors
    /// 401 where there is none that is good; 503 where that cannot be known.
    pub async fn authenticate(&self, request: &HttpRequest) -> Result<AuthenticatedRequest, Problem> {
        let address = self.proxies.address_of(request).map(client_network);
        match self.resolve_caller(request, address).await {
            Ok(caller) => {
                let credential = caller.credential.kind();
                let actor = self.actor(request, Some(caller.subject.clone()), credential);
                request.extensions_mut().insert(Tenant::of_subject(&caller.subject));
                let roles = caller.roles.iter().map(|role| role.as_str()).collect();
                Ok(AuthenticatedRequest { actor: Actor { roles, ..actor }, caller })
            }
            // Without a credential there is nothing to record.
            Err(AuthenticationFailure::Refused(Refusal::Missing)) => {
                self.limits.attempts.refused(address)?;
                Err(Problem::Unauthorized(Unaccepted::Missing))
            }
            Err(AuthenticationFailure::Limited(problem)) => {
                self.limits.attempts.refused(address)?;
                Err(problem)
            }
            Err(AuthenticationFailure::Unknown) => Err(Problem::Unavailable),
            Err(AuthenticationFailure::Ended { key_id, org_id, state }) => {
                self.limits.attempts.refused(address)?;
                let holder = self.actor(request, Some(Caller::subject_of_key(key_id)), CredentialKind::ApiKey);
                let event = AuditEvent::new(holder, AUTHENTICATE, Outcome::Denied).of_org(org_id).target(key_id);
                self.backlog.refused(event.detail(format!("the API key is {}", state.as_str())), Some(org_id));
                Err(Problem::Unauthorized(Unaccepted::Refused))
            }
            Err(AuthenticationFailure::Refused(refusal)) => {
                self.limits.attempts.refused(address)?;
                if self.limits.lines.one_more() {
                    tracing::info!(reason = %refusal, "a credential was refused");
                }
                let anonymous = self.actor(request, None, CredentialKind::None);
                self.backlog.refused(AuditEvent::new(anonymous, AUTHENTICATE, Outcome::Denied).detail(refusal), None);
                Err(Problem::Unauthorized(match refusal {
                    Refusal::KeyAsToken => Unaccepted::KeyAsToken,
                    Refusal::TokenAsKey => Unaccepted::TokenAsKey,
                    Refusal::Ambiguous => Unaccepted::Ambiguous,
                    _ => Unaccepted::Refused,
                }))
            }
        }
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

    async fn resolve_caller(
        &self,
        request: &HttpRequest,
        address: Option<IpAddr>,
    ) -> Result<Caller, AuthenticationFailure> {
        match credential(request)? {
            PresentedCredential::Token(token) if PresentedKey::looks_like(token) => Err(Refusal::KeyAsToken.into()),
            PresentedCredential::Token(token) => Ok(self.token(token).await?),
            PresentedCredential::Key(text) if text.starts_with("eyJ") => Err(Refusal::TokenAsKey.into()),
            PresentedCredential::Key(key) => self.key(key, address).await,
        }
    }

    async fn key(&self, text: &str, address: Option<IpAddr>) -> Result<Caller, AuthenticationFailure> {
        let key = PresentedKey::read(text).ok_or(Refusal::KeyForm)?;
        let attempts = &self.limits.attempts;
        attempts.may_look_up(address, key.key_id).map_err(AuthenticationFailure::Limited)?;
        let keys = self.keys.get().ok_or(AuthenticationFailure::Unknown)?;
        match keys.send(Authenticate(key)).timeout(WAIT_FOR_KEY).await {
            Ok(Ok(KeyCheck::Accepted(holder))) => {
                attempts.accepted(key.key_id);
                Ok(Caller::of_key(key.key_id, holder))
            }
            Ok(Ok(KeyCheck::Ended { org_id, state })) => {
                Err(AuthenticationFailure::Ended { key_id: key.key_id, org_id, state })
            }
            Ok(Ok(KeyCheck::Unknown)) => Err(Refusal::Key.into()),
            Ok(Err(_)) | Err(_) => Err(AuthenticationFailure::Unknown),
        }
    }

    async fn token(&self, token: &str) -> Result<Caller, Refusal> {
        match self.verifier.verify(token) {
            // The issuer may have a new key since.
            Err(Refusal::UnknownKey | Refusal::KeysAway) => {
                if let Some(jwks) = self.jwks.get() {
                    // In time or not: the keys that there are then decide.
                    let _ = jwks.send(Refresh).timeout(WAIT_FOR_KEYS).await;
                }
                self.verifier.verify(token)
            }
            known => known,
        }
    }
}

/// The credential that a request presents.
enum PresentedCredential<'a> {
    Token(&'a str),
    Key(&'a str),
}

/// The one credential of a request: with two it would be unclear which one counts.
fn credential(request: &HttpRequest) -> Result<PresentedCredential<'_>, Refusal> {
    let (tokens, keys) = (request.headers().get_all(AUTHORIZATION), request.headers().get_all(X_API_KEY));
    let mut shown = tokens.map(|value| (value, true)).chain(keys.map(|value| (value, false)));
    let (value, is_token) = shown.next().ok_or(Refusal::Missing)?;
    if shown.next().is_some() {
        return Err(Refusal::Ambiguous);
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    if !is_token {
        return Ok(PresentedCredential::Key(text));
    }
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Ambiguous);
    }
    Ok(PresentedCredential::Token(token.trim()))
}
