//! Who asks: tokens, a key, and an audit log that takes down what is to be recorded.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use uuid::Uuid;

use super::{ORG, at, rules};
use crate::{
    actors::{
        audit::{NotRecorded, Record, Refusals},
        keys::{Authenticate, Create, GetKey, ListKeys, Revoke},
        query::QueryError,
        supervision::line::Line,
    },
    auth::{self, Caller, Credential, PresentedKey, Role, Verifier},
    config::{Auth, Secret},
    domain::{
        api_key::{ApiKey, ApiKeyPage, Holder, KeyRole, KeyState, NewApiKey},
        audit::AuditEvent,
        event::Reason,
    },
    http::{Api, Gatekeeper, client_address::TrustedProxies, limits::Limits},
    telemetry::metrics::Metrics,
};

pub const SECRET: &str = "a secret of the tests, thirty-two bytes or more";

pub fn auth_settings() -> Auth {
    Auth {
        hs256_secret: Secret::new(SECRET),
        issuer: "issuer".into(),
        audience: "audience".into(),
        jwks_stale_seconds: 60,
        ..Auth::default()
    }
}

/// Takes down what is to be recorded, where it is not told that it cannot.
#[derive(Clone, Default)]
pub struct Books {
    pub events: Arc<Mutex<Vec<AuditEvent>>>,
    pub away: bool,
}

impl Actor for Books {
    type Context = Context<Self>;
}

impl Handler<Record> for Books {
    type Result = Result<(), NotRecorded>;

    fn handle(&mut self, Record(events): Record, _: &mut Self::Context) -> Self::Result {
        if self.away {
            return Err(NotRecorded);
        }
        self.events.lock().unwrap().extend(events);
        Ok(())
    }
}

impl Books {
    /// What was taken down since.
    pub fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// An API whose audit log this is, and the refusals that wait to be recorded.
    pub fn of(&self, api: Api) -> (Api, Refusals) {
        api.gatekeeper.audit.set(self.clone().start().recipient());
        let refusals = api.gatekeeper.refusals.clone();
        (api, refusals)
    }
}

/// Has one key, [`KEY`], of [`ORG`]; its secret is all zeros, its role the name of the role.
pub struct FixedKeys {
    pub error: Option<QueryError>,
}

pub const KEY: Uuid = Uuid::from_u128(0x1E);

/// The key as it is shown.
pub fn key_text() -> String {
    format!("ak_{}_{}", KEY.simple(), "A".repeat(43))
}

impl Actor for FixedKeys {
    type Context = Context<Self>;
}

impl Handler<Authenticate> for FixedKeys {
    type Result = Result<Option<Holder>, QueryError>;

    fn handle(&mut self, Authenticate(shown): Authenticate, _: &mut Self::Context) -> Self::Result {
        let ours = PresentedKey::read(&key_text()).unwrap();
        let valid = shown.key_id == ours.key_id && shown.secret_sha256 == ours.secret_sha256;
        self.error.map_or(Ok(valid.then_some(Holder { org_id: ORG, role: KeyRole::OrgViewer })), Err)
    }
}

fn api_key(id: Uuid, name: &str, state: KeyState) -> ApiKey {
    ApiKey {
        id,
        org_id: ORG,
        name: name.to_owned(),
        role: KeyRole::OrgViewer,
        state,
        created_at: at("2026-03-02T11:00:00Z"),
        created_by: "ann".to_owned(),
        expires_at: None,
        revoked_at: None,
        revoked_by: None,
        last_used_at: None,
    }
}

impl Handler<Create> for FixedKeys {
    type Result = Result<Result<ApiKey, Vec<Reason>>, QueryError>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        let made = NewApiKey::read(&create.body, rules().now);
        self.error.map_or(Ok(made.map(|key| api_key(create.key_id, &key.name, KeyState::Active))), Err)
    }
}

impl Handler<ListKeys> for FixedKeys {
    type Result = Result<ApiKeyPage, QueryError>;

    /// Names the query by the one key's name.
    fn handle(&mut self, list: ListKeys, _: &mut Self::Context) -> Self::Result {
        let name = format!("{:?} {:?} {}", list.org_id, list.before, list.limit);
        let keys = vec![api_key(KEY, &name, KeyState::Active)];
        self.error.map_or(Ok(ApiKeyPage { keys, more: list.before.is_none() }), Err)
    }
}

impl Handler<GetKey> for FixedKeys {
    type Result = Result<Option<ApiKey>, QueryError>;

    fn handle(&mut self, GetKey { key_id, .. }: GetKey, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((key_id == KEY).then(|| api_key(KEY, "dashboard", KeyState::Active))), Err)
    }
}

impl Handler<Revoke> for FixedKeys {
    type Result = Result<Option<ApiKey>, QueryError>;

    fn handle(&mut self, Revoke { key_id, .. }: Revoke, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((key_id == KEY).then(|| api_key(KEY, "dashboard", KeyState::Revoked))), Err)
    }
}

pub fn gatekeeper(settings: &Auth) -> Gatekeeper {
    let (audit, keys) = (Line::default(), Line::default());
    audit.set(Books::default().start().recipient());
    keys.set(FixedKeys { error: None }.start().recipient());
    Gatekeeper {
        verifier: Verifier::new(settings),
        proxies: TrustedProxies::default(),
        limits: Limits::default(),
        refusals: Refusals::new(Metrics::default()),
        jwks: Line::default(),
        keys,
        audit,
    }
}

pub fn token(role: Role) -> String {
    let caller = Caller { subject: "ann".into(), org_ids: vec![ORG], roles: vec![role], credential: Credential::Token };
    auth::issue(&auth_settings(), &caller, Duration::from_secs(60)).unwrap()
}
