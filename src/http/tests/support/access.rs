//! Callers: tokens, a key, and an audit log that keeps what is to be recorded.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use uuid::Uuid;

use super::{ORG, at, rules};
use crate::{
    actors::{
        serving::{
            audit::{Backlog, NotRecorded, Record},
            error::QueryError,
            keys::{Authenticate, Create, GetKey, ListKeys, Revoke},
        },
        supervision::actor_ref::ActorRef,
    },
    auth::{self, Caller, Credential, PresentedKey, Role, Verifier},
    config::{Auth, Secret},
    domain::{
        api_key::{ApiKey, ApiKeyPage, Created, Holder, KeyCheck, KeyRole, KeyState, Maker, NewApiKey, Revoked},
        audit::AuditEvent,
    },
    http::{Api, Gatekeeper, SessionRefs, client_address::TrustedProxies, limits::Limits},
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

/// Keeps what is to be recorded, unless it is configured to fail.
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
    pub fn of(&self, api: Api) -> (Api, Backlog) {
        api.gatekeeper.audit.set(self.clone().start().recipient());
        let refusals = api.gatekeeper.backlog.clone();
        (api, refusals)
    }
}

/// Has one key, [`KEY`], of [`ORG`]; its secret is all zeros, its role the name of the role.
pub struct FixedKeys {
    pub error: Option<QueryError>,
}

pub const KEY: Uuid = Uuid::from_u128(0x1E);
/// Was revoked; its secret is the same.
pub const REVOKED_KEY: Uuid = Uuid::from_u128(0x2E);

/// The key as it is shown.
pub fn key_text() -> String {
    text_of_key(KEY)
}

pub fn text_of_key(id: Uuid) -> String {
    format!("ak_{}_{}", id.simple(), "A".repeat(43))
}

impl Actor for FixedKeys {
    type Context = Context<Self>;
}

impl Handler<Authenticate> for FixedKeys {
    type Result = Result<KeyCheck, QueryError>;

    fn handle(&mut self, Authenticate(shown): Authenticate, _: &mut Self::Context) -> Self::Result {
        let ours = PresentedKey::read(&key_text()).unwrap();
        let holder = Holder { org_id: ORG, role: KeyRole::OrgViewer, expires_at: None };
        let judged = match (shown.key_id, shown.secret_sha256 == ours.secret_sha256) {
            (KEY, true) => KeyCheck::Accepted(holder),
            (REVOKED_KEY, true) => KeyCheck::Ended { org_id: ORG, state: KeyState::Revoked },
            _ => KeyCheck::Unknown,
        };
        self.error.map_or(Ok(judged), Err)
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
        parent_id: None,
        expires_at: None,
        revoked_at: None,
        revoked_by: None,
        last_used_at: None,
    }
}

impl Handler<Create> for FixedKeys {
    type Result = Result<Created, QueryError>;

    /// Has made a key for the Idempotency-Key `known`, and another for `taken`. There is room for no key of the name `one more`.
    fn handle(&mut self, Create(new): Create, _: &mut Self::Context) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let maker = new.parent.map(|_| Maker { role: KeyRole::OrgViewer, expires_at: None });
        Ok(match NewApiKey::read(&new.body, rules().now, maker) {
            Err(reasons) => Created::Wrong(reasons),
            Ok(key) if key.name == "one more" => Created::TooMany,
            Ok(key) => match new.idempotency_key.as_deref() {
                Some("known") => Created::Same(api_key(KEY, &key.name, KeyState::Active)),
                Some("taken") => Created::KeyTaken,
                Some("ended") => Created::MakerEnded,
                _ => Created::New(api_key(new.key_id, &key.name, KeyState::Active)),
            },
        })
    }
}

impl Handler<ListKeys> for FixedKeys {
    type Result = Result<ApiKeyPage, QueryError>;

    /// Names the query by the one key's name.
    fn handle(&mut self, list: ListKeys, _: &mut Self::Context) -> Self::Result {
        let name = format!("{:?} {:?} {}", list.org_id, list.before, list.limit);
        let keys = vec![api_key(KEY, &name, KeyState::Active)];
        self.error.map_or(Ok(ApiKeyPage { entries: keys, more: list.before.is_none() }), Err)
    }
}

impl Handler<GetKey> for FixedKeys {
    type Result = Result<Option<ApiKey>, QueryError>;

    fn handle(&mut self, GetKey { key_id, .. }: GetKey, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((key_id == KEY).then(|| api_key(KEY, "dashboard", KeyState::Active))), Err)
    }
}

impl Handler<Revoke> for FixedKeys {
    type Result = Result<Option<Revoked>, QueryError>;

    /// It has made another.
    fn handle(&mut self, Revoke(revocation): Revoke, _: &mut Self::Context) -> Self::Result {
        let made = if revocation.cascade { KeyState::Revoked } else { KeyState::Active };
        let revoked = || Revoked {
            key: api_key(KEY, "dashboard", KeyState::Revoked),
            descendants: vec![api_key(REVOKED_KEY, "child", made)],
        };
        self.error.map_or(Ok((revocation.key_id == KEY).then(revoked)), Err)
    }
}

pub fn gatekeeper(settings: &Auth) -> Gatekeeper {
    let (audit, keys) = (ActorRef::default(), ActorRef::default());
    audit.set(Books::default().start().recipient());
    keys.set(FixedKeys { error: None }.start().recipient());
    Gatekeeper {
        verifier: Verifier::new(settings),
        proxies: TrustedProxies::default(),
        limits: Limits::default(),
        backlog: Backlog::new(Metrics::default()),
        jwks: ActorRef::default(),
        keys,
        sessions: SessionRefs::default(),
        audit,
    }
}

pub fn token(role: Role) -> String {
    let caller = Caller {
        subject: "ann".into(),
        org_ids: vec![ORG],
        roles: vec![role],
        credential: Credential::Token,
        expires_at: None,
    };
    auth::issue(&auth_settings(), &caller, Duration::from_secs(60)).unwrap()
}
