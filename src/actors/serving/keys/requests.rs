//! Where API keys are created, listed and revoked.

use std::time::Instant;

use actix::prelude::*;
use uuid::Uuid;

use super::{DATABASE_TIMEOUT, Keys};
pub use crate::store::access::api_keys::{NewKey, Revocation};
use crate::{
    actors::serving::{error::QueryError, shared_session::SharedSession},
    config::Settings,
    domain::api_key::{ApiKey, ApiKeyPage, Created, KeyState, Revoked},
    store::access::api_keys as table,
};

/// Requests that may wait for their turn.
const QUEUE: usize = 32;

#[derive(Clone)]
pub struct KeyRequests {
    session: SharedSession,
    /// Most keys of an org that may be active.
    most: u32,
}

impl KeyRequests {
    pub fn new(settings: &Settings) -> Self {
        let session = SharedSession::new(settings, QUEUE, DATABASE_TIMEOUT, "API keys cannot be read or changed");
        Self { session, most: settings.auth.api_keys_per_org }
    }
}

/// Create a key.
#[derive(Message)]
#[rtype(result = "Result<Created, QueryError>")]
pub struct Create(pub NewKey);

impl Handler<Create> for Keys {
    type Result = ResponseFuture<Result<Created, QueryError>>;

    fn handle(&mut self, Create(new): Create, _: &mut Self::Context) -> Self::Result {
        let (requests, working) = (self.requests.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            requests.session.serve(async |conn| table::create(conn, &new, requests.most).await).await
        })
    }
}

/// A page of an org's keys, newest first.
#[derive(Message)]
#[rtype(result = "Result<ApiKeyPage, QueryError>")]
pub struct ListKeys {
    pub org_id: Uuid,
    /// Those older than this one.
    pub before: Option<Uuid>,
    pub limit: u16,
}

impl Handler<ListKeys> for Keys {
    type Result = ResponseFuture<Result<ApiKeyPage, QueryError>>;

    fn handle(&mut self, ListKeys { org_id, before, limit }: ListKeys, _: &mut Self::Context) -> Self::Result {
        let requests = self.requests.clone();
        Box::pin(
            async move { requests.session.serve(async |conn| table::list(conn, org_id, before, limit).await).await },
        )
    }
}

/// None: the org has no such key.
#[derive(Message)]
#[rtype(result = "Result<Option<ApiKey>, QueryError>")]
pub struct GetKey {
    pub org_id: Uuid,
    pub key_id: Uuid,
}

impl Handler<GetKey> for Keys {
    type Result = ResponseFuture<Result<Option<ApiKey>, QueryError>>;

    fn handle(&mut self, GetKey { org_id, key_id }: GetKey, _: &mut Self::Context) -> Self::Result {
        let requests = self.requests.clone();
        Box::pin(async move { requests.session.serve(async |conn| table::get(conn, org_id, key_id).await).await })
    }
}

/// Revoke a key: from the response on in this process, soon in every other. Doing so again changes nothing.
/// None: the org has no such key.
#[derive(Message)]
#[rtype(result = "Result<Option<Revoked>, QueryError>")]
pub struct Revoke(pub Revocation);

impl Handler<Revoke> for Keys {
    type Result = ResponseActFuture<Self, Result<Option<Revoked>, QueryError>>;

    fn handle(&mut self, Revoke(revocation): Revoke, _: &mut Self::Context) -> Self::Result {
        let (requests, working) = (self.requests.clone(), self.vitals.work());
        let work = async move {
            let _working = working;
            requests.session.serve(async |conn| table::revoke(conn, &revocation).await).await
        };
        Box::pin(work.into_actor(self).map(move |revoked, actor, _| {
            let now = Instant::now();
            match &revoked {
                Ok(Some(Revoked { key, descendants })) => {
                    let ended = |key: &&ApiKey| key.state == KeyState::Revoked;
                    let ended = std::iter::once(key).chain(descendants).filter(ended);
                    ended.for_each(|key| actor.cache.revoke(key.id, now));
                }
                Ok(None) => {}
                // It may be revoked all the same, and so may others: the database is queried before any key counts again.
                Err(_) => actor.cache.forget_all(),
            }
            revoked
        }))
    }
}
