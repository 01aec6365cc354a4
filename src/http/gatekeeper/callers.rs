//! Whose a credential is that a request presents: it is looked up, and what is wrong with it is counted and recorded.

use std::{net::IpAddr, time::Duration};

use actix_web::{HttpMessage, HttpRequest};
use uuid::Uuid;

use super::{AuthenticatedRequest, Gatekeeper, id_of};
use crate::{
    actors::serving::{
        jwks::Refresh,
        keys::Authenticate,
        sessions::{FindSession, Presented},
    },
    auth::{Caller, PresentedKey, Refusal},
    domain::{
        api_key::{KeyCheck, KeyState},
        audit::{Actor, AuditEvent, CredentialKind, Outcome},
    },
    http::{
        credential::PresentedCredential,
        error::{Problem, Unaccepted},
        in_flight::Tenant,
    },
};

/// Longest that a request waits for the key set to be read again, when it names a key that is not there.
const WAIT_FOR_KEYS: Duration = Duration::from_millis(500);
/// Longest that a request waits for its API key, or its session of the console, to be looked up.
const WAIT_FOR_KEY: Duration = Duration::from_millis(900);

/// What is recorded of a credential that is refused.
const AUTHENTICATE: &str = "authenticate";

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

impl Gatekeeper {
    /// Whose credential the request carries.
    ///
    /// # Errors
    /// 401 where there is none that is good; 503 where that cannot be known.
    pub async fn authenticate(&self, request: &HttpRequest) -> Result<AuthenticatedRequest, Problem> {
        match PresentedCredential::of(request) {
            Ok(presented) => self.identify_as(request, presented, AUTHENTICATE).await,
            // Without a credential there is nothing to record.
            Err(Refusal::Missing) => {
                self.limits.attempts.refused(self.network_of(request))?;
                Err(Problem::Unauthorized(Unaccepted::Missing))
            }
            Err(refusal) => Err(self.refuse(request, AUTHENTICATE, refusal)),
        }
    }

    /// Whose credential it is that somebody signs in with; a refusal is recorded as one of that.
    ///
    /// # Errors
    /// As [`Gatekeeper::authenticate`].
    pub async fn identify(
        &self,
        request: &HttpRequest,
        presented: PresentedCredential<'_>,
        action: &'static str,
    ) -> Result<AuthenticatedRequest, Problem> {
        self.identify_as(request, presented, action).await.map_err(|problem| match problem {
            Problem::Unauthorized(_) => Problem::Unauthorized(Unaccepted::SignIn),
            problem => problem,
        })
    }

    async fn identify_as(
        &self,
        request: &HttpRequest,
        presented: PresentedCredential<'_>,
        action: &'static str,
    ) -> Result<AuthenticatedRequest, Problem> {
        let address = self.network_of(request);
        match self.resolve_caller(presented, address).await {
            Ok(caller) => Ok(self.accepted(request, caller)),
            Err(AuthenticationFailure::Limited(problem)) => {
                self.limits.attempts.refused(address)?;
                Err(problem)
            }
            Err(AuthenticationFailure::Unknown) => Err(Problem::Unavailable),
            Err(AuthenticationFailure::Ended { key_id, org_id, state }) => {
                self.limits.attempts.refused(address)?;
                let holder = self.actor(request, Some(Caller::subject_of_key(key_id)), CredentialKind::ApiKey);
                let event = AuditEvent::new(holder, action, Outcome::Denied).of_org(org_id).target(key_id);
                self.backlog.refused(event.detail(format!("the API key is {}", state.as_str())), Some(org_id));
                Err(Problem::Unauthorized(Unaccepted::Refused))
            }
            Err(AuthenticationFailure::Refused(refusal)) => Err(self.refuse(request, action, refusal)),
        }
    }

    /// A request of a caller that is known.
    pub fn accepted(&self, request: &HttpRequest, caller: Caller) -> AuthenticatedRequest {
        let credential = caller.credential.kind();
        let actor = self.actor(request, Some(caller.subject.clone()), credential);
        request.extensions_mut().insert(Tenant::of_subject(&caller.subject));
        let roles = caller.roles.iter().map(|role| role.as_str()).collect();
        AuthenticatedRequest { actor: Actor { roles, ..actor }, caller }
    }

    /// Refuses what a request presents, counted for its address and recorded.
    pub fn refuse(&self, request: &HttpRequest, action: &'static str, refusal: Refusal) -> Problem {
        if let Err(problem) = self.limits.attempts.refused(self.network_of(request)) {
            return problem;
        }
        if self.limits.lines.one_more() {
            tracing::info!(reason = %refusal, "a credential was refused");
        }
        let denied = AuditEvent { outcome: Outcome::Denied, ..self.by_nobody(request, action) };
        self.backlog.refused(denied.detail(refusal), None);
        Problem::Unauthorized(match refusal {
            Refusal::KeyAsToken => Unaccepted::KeyAsToken,
            Refusal::TokenAsKey => Unaccepted::TokenAsKey,
            Refusal::Ambiguous => Unaccepted::Ambiguous,
            Refusal::Session => Unaccepted::SessionEnded,
            Refusal::Link => Unaccepted::Link,
            // As without one.
            Refusal::NotOfPage => Unaccepted::Missing,
            _ => Unaccepted::Refused,
        })
    }

    async fn resolve_caller(
        &self,
        presented: PresentedCredential<'_>,
        address: Option<IpAddr>,
    ) -> Result<Caller, AuthenticationFailure> {
        match presented {
            PresentedCredential::Token(token) if PresentedKey::looks_like(token) => Err(Refusal::KeyAsToken.into()),
            PresentedCredential::Token(token) => Ok(self.token(token).await?),
            PresentedCredential::Key(text) if text.starts_with("eyJ") => Err(Refusal::TokenAsKey.into()),
            PresentedCredential::Key(key) => self.key(key, address).await,
            PresentedCredential::Session(session) => self.session(session, address).await,
        }
    }

    async fn session(&self, session: Presented, address: Option<IpAddr>) -> Result<Caller, AuthenticationFailure> {
        let (attempts, id) = (&self.limits.attempts, id_of(&session.sha256));
        attempts.may_look_up(address, id).map_err(AuthenticationFailure::Limited)?;
        let sessions = self.sessions.find.get().ok_or(AuthenticationFailure::Unknown)?;
        match sessions.send(FindSession(session)).timeout(WAIT_FOR_KEY).await {
            Ok(Ok(found)) => {
                let caller = found.and_then(Caller::of_session).ok_or(Refusal::Session)?;
                attempts.accepted(id);
                Ok(caller)
            }
            Ok(Err(_)) | Err(_) => Err(AuthenticationFailure::Unknown),
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
