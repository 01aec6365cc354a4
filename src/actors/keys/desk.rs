//! Where API keys are made, listed and revoked.

use std::time::Instant;

use actix::prelude::*;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ANSWER_WITHIN, Keys, refuse};
use crate::{
    actors::{query::QueryError, turns::Turns},
    config::Settings,
    domain::{
        api_key::{ApiKey, ApiKeyPage},
        audit::AuditEvent,
        event::Reason,
    },
    store::{
        Session, StoreError,
        api_keys::{self as table, Asked},
    },
};

/// Requests that may wait for their turn.
const QUEUE: usize = 32;

/// Serves one at a time, each with a deadline.
#[derive(Clone)]
pub struct Desk {
    turns: Turns<Session>,
}

impl Desk {
    pub fn new(settings: &Settings) -> Self {
        Self { turns: Turns::new(Session::new(settings.database.clone()), QUEUE, settings.query.wait()) }
    }

    async fn serve<T>(
        &self,
        work: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, QueryError> {
        let mut session = self.turns.take().await?;
        let done = session.run_within(ANSWER_WITHIN, work).await;
        done.map_err(|error| refuse(&error, "API keys cannot be read or changed"))
    }
}

/// Make a key. The rules that it breaks, where it breaks any.
#[derive(Message)]
#[rtype(result = "Result<Result<ApiKey, Vec<Reason>>, QueryError>")]
pub struct Create {
    pub key_id: Uuid,
    pub org_id: Uuid,
    pub secret_sha256: [u8; 32],
    /// The key as it was asked for, JSON.
    pub body: Vec<u8>,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<Create> for Keys {
    type Result = ResponseFuture<Result<Result<ApiKey, Vec<Reason>>, QueryError>>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        let Create { key_id, org_id, secret_sha256, body, by, act } = create;
        let asked = Asked { key_id, org_id, secret_sha256, body, by, act };
        let (desk, working) = (self.desk.clone(), self.pulse.work());
        Box::pin(async move {
            let _working = working;
            desk.serve(async |conn| table::create(conn, &asked).await).await
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
        let desk = self.desk.clone();
        Box::pin(async move { desk.serve(async |conn| table::list(conn, org_id, before, limit).await).await })
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
        let desk = self.desk.clone();
        Box::pin(async move { desk.serve(async |conn| table::get(conn, org_id, key_id).await).await })
    }
}

/// Let a key count no longer: from the answer on in this process, soon in every other. Doing so again changes nothing.
/// None: the org has no such key.
#[derive(Message)]
#[rtype(result = "Result<Option<ApiKey>, QueryError>")]
pub struct Revoke {
    pub org_id: Uuid,
    pub key_id: Uuid,
    pub by: String,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<Revoke> for Keys {
    type Result = ResponseActFuture<Self, Result<Option<ApiKey>, QueryError>>;

    fn handle(&mut self, Revoke { org_id, key_id, by, act }: Revoke, _: &mut Self::Context) -> Self::Result {
        let (desk, working) = (self.desk.clone(), self.pulse.work());
        let work = async move {
            let _working = working;
            desk.serve(async |conn| table::revoke(conn, org_id, key_id, &by, &act).await).await
        };
        Box::pin(work.into_actor(self).map(move |revoked, actor, _| {
            match &revoked {
                Ok(Some(_)) => actor.cache.revoke(key_id, Instant::now()),
                Ok(None) => {}
                // It may be revoked all the same: the database is asked before the key counts again.
                Err(_) => actor.cache.forget(key_id),
            }
            revoked
        }))
    }
}
