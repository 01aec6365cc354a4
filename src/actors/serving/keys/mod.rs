//! Keys: knows whose API keys are, and keeps them.
//! In: Authenticate, Create, ListKeys, GetKey, Revoke from http; Drain, End. Out: the response.
//! Failure: database away → keys that were looked up lately count on until their entry ends; who shows another one is
//!          refused as Unavailable, never authorized. The times of last use wait for the database.
//! Bound: one look-up at a time, of all that came meanwhile; WAITING wait for it. One change at a time, QUEUE wait.

mod cache;
mod requests;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use actix::{fut, prelude::*};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    actors::{
        serving::error::{QueryError, refuse},
        supervision::{
            exit::Drain,
            liveness::Working,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    auth::PresentedKey,
    config::Settings,
    domain::api_key::{KeyCheck, KeyState},
    store::{
        Session,
        access::api_keys::{self as table, StoredKey},
    },
};
use cache::{Cache, CacheEntry};
use requests::KeyRequests;

pub use requests::{Create, GetKey, ListKeys, NewKey, Revocation, Revoke};

/// Longest that the database may take.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(800);
/// Requests that may wait for a look-up.
const WAITING: usize = 1024;
/// How often is written when keys were last used.
const WRITE_EVERY: Duration = Duration::from_secs(60);

type Lookup = Result<Option<StoredKey>, QueryError>;

pub struct Keys {
    cache: Cache,
    /// Who waits for a look-up, by key.
    waiting: HashMap<Uuid, Vec<oneshot::Sender<Lookup>>>,
    /// Absent while the database is queried.
    session: Option<Session>,
    requests: KeyRequests,
    /// When keys were used, as far as it is not written yet. At most as many as the cache holds.
    used: HashMap<Uuid, Instant>,
    draining: bool,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct KeysParts {
    pub settings: Settings,
}

impl Keys {
    pub fn new(KeysParts { settings }: KeysParts, vitals: Vitals) -> Self {
        Self {
            cache: Cache::new(settings.auth.api_key_cache()),
            waiting: HashMap::new(),
            requests: KeyRequests::new(&settings),
            session: Some(Session::new(settings.database)),
            used: HashMap::new(),
            draining: false,
            vitals,
        }
    }

    /// What the key turns out to be, if the secret is its own.
    fn judge(&mut self, shown: &PresentedKey, key: Option<StoredKey>) -> KeyCheck {
        match key.filter(|key| bool::from(key.secret_sha256.ct_eq(&shown.secret_sha256))) {
            None => KeyCheck::Unknown,
            Some(StoredKey { state: KeyState::Active, key_id, holder, .. }) => {
                self.used.insert(key_id, Instant::now());
                KeyCheck::Accepted(holder)
            }
            Some(StoredKey { state, holder, .. }) => KeyCheck::Ended { org_id: holder.org_id, state },
        }
    }

    /// Queries the database for all that is waited for, unless it is being queried.
    fn look_up(&mut self, ctx: &mut Context<Self>) {
        if self.waiting.is_empty() || self.is_at_work() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let ids: Vec<Uuid> = waiting.keys().copied().collect();
        let work = async move |session: &mut Session, _: &Working| {
            session.run_within(DATABASE_TIMEOUT, async |conn| table::look_up(conn, &ids).await).await
        };
        self.begin(ctx, work, |actor, found, ctx| {
            let found = found.map_err(|error| refuse(&error, "API keys cannot be looked up"));
            for (key_id, waiting) in waiting {
                let key = found.as_ref().map_err(|error| *error).map(|found| {
                    let key = found.iter().find(|key| key.key_id == key_id).copied();
                    actor.cache.put(key_id, key, Instant::now());
                    // What was revoked meanwhile stays so.
                    actor.cache.get(key_id, Instant::now()).and_then(CacheEntry::key).unwrap_or(key)
                });
                for sender in waiting {
                    // Who has gone away meanwhile does not mind.
                    let _ = sender.send(key);
                }
            }
            actor.look_up(ctx);
        });
    }

    /// Writes when keys were last used.
    fn write_used(&mut self, ctx: &mut Context<Self>) {
        if self.used.is_empty() || self.is_at_work() {
            if self.draining {
                ctx.stop();
            }
            return;
        }
        let used = std::mem::take(&mut self.used);
        let work = async move |session: &mut Session, _: &Working| {
            let ago: Vec<(Uuid, Duration)> = used.iter().map(|(key_id, at)| (*key_id, at.elapsed())).collect();
            let written = session.run_within(DATABASE_TIMEOUT, async |conn| table::used(conn, &ago).await).await;
            (used, written)
        };
        self.begin(ctx, work, |actor, (used, written), ctx| {
            if let Err(error) = written {
                tracing::warn!(%error, "when API keys were last used waits for the database");
                for (key_id, at) in used {
                    actor.used.entry(key_id).or_insert(at);
                }
            }
            if actor.draining {
                ctx.stop();
            }
            actor.look_up(ctx);
        });
    }
}

supervised!(Keys, session: Session);

impl Actor for Keys {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(WRITE_EVERY, |actor, ctx| actor.write_used(ctx));
    }
}

/// Whose key is this?
#[derive(Message)]
#[rtype(result = "Result<KeyCheck, QueryError>")]
pub struct Authenticate(pub PresentedKey);

impl Handler<Authenticate> for Keys {
    type Result = ResponseActFuture<Self, Result<KeyCheck, QueryError>>;

    fn handle(&mut self, Authenticate(shown): Authenticate, ctx: &mut Self::Context) -> Self::Result {
        if let Some(key) = self.cache.get(shown.key_id, Instant::now()).and_then(CacheEntry::key) {
            let judged = self.judge(&shown, key);
            return Box::pin(fut::ready(Ok(judged)));
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() >= WAITING {
            return Box::pin(fut::ready(Err(QueryError::Busy)));
        }
        let (sender, found) = oneshot::channel();
        self.waiting.entry(shown.key_id).or_default().push(sender);
        self.look_up(ctx);
        // Closed: the actor has ended.
        let found = async move { found.await.unwrap_or(Err(QueryError::Unavailable)) };
        Box::pin(found.into_actor(self).map(move |key, actor, _| Ok(actor.judge(&shown, key?))))
    }
}

impl Handler<Drain> for Keys {
    type Result = ();

    /// Writes when keys were last used, if the database takes it, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.write_used(ctx);
    }
}
