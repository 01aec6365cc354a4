//! Names: sets and deletes what people call their ids.
//! In: PutName, DeleteName from http; End. Out: the response.
//! Failure: database away → Unavailable to the caller.
//! Bound: one change at a time, QUEUE wait for that, each for at most query.wait_ms.

use std::time::Duration;

use actix::prelude::*;

use crate::{
    actors::{
        serving::{error::QueryError, shared_session::SharedSession},
        supervision::vitals::{Vitals, supervised},
    },
    config::Settings,
    domain::{
        audit::AuditEvent,
        names::{Named, Put},
    },
    store::names as table,
};

pub use crate::store::names::SetName;

/// Requests that may wait for their turn.
const QUEUE: usize = 32;
/// Longest that the database may take.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(800);

pub struct Names {
    requests: SharedSession,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct NamesParts {
    pub settings: Settings,
}

impl Names {
    pub fn new(NamesParts { settings }: NamesParts, vitals: Vitals) -> Self {
        let requests = SharedSession::new(&settings, QUEUE, DATABASE_TIMEOUT, "names cannot be changed");
        Self { requests, vitals }
    }
}

supervised!(Names);

impl Actor for Names {
    type Context = Context<Self>;
}

/// Set a name.
#[derive(Message)]
#[rtype(result = "Result<Put, QueryError>")]
pub struct PutName(pub SetName);

impl Handler<PutName> for Names {
    type Result = ResponseFuture<Result<Put, QueryError>>;

    fn handle(&mut self, PutName(new): PutName, _: &mut Self::Context) -> Self::Result {
        let (requests, working) = (self.requests.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            requests.serve(async |conn| table::set(conn, &new).await).await
        })
    }
}

/// Delete a name. Where there is none, nothing is done.
#[derive(Message)]
#[rtype(result = "Result<(), QueryError>")]
pub struct DeleteName {
    pub of: Named,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<DeleteName> for Names {
    type Result = ResponseFuture<Result<(), QueryError>>;

    fn handle(&mut self, DeleteName { of, act }: DeleteName, _: &mut Self::Context) -> Self::Result {
        let (requests, working) = (self.requests.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            requests.serve(async |conn| table::delete(conn, &of, &act).await).await
        })
    }
}
