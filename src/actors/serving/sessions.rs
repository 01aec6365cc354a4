//! Sessions: knows who is signed in to the console.
//! In: FindSession, BeginSession, RedeemLink, EndSession from http; End. Out: the response.
//! Failure: database away → Unavailable to the caller. Nothing is remembered, so a session ends everywhere at once.
//! Bound: one look-up at a time, of all that came meanwhile; WAITING wait for it. One change at a time, QUEUE wait.

use std::{collections::HashMap, time::Duration};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

pub use crate::store::access::console::{NewSession, Presented};
use crate::{
    actors::{
        serving::{
            error::{QueryError, refuse},
            shared_session::SharedSession,
        },
        supervision::{
            liveness::Working,
            vitals::{OneAtATime as _, Vitals, supervised},
        },
    },
    auth::Role,
    config::Settings,
    domain::{
        audit::{Actor as AuditActor, AuditEvent},
        console::{ConsolePort, ConsoleSession, Grant, SecretHash},
    },
    store::{Session, access::console as table},
};

/// Longest that the database may take.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(800);
/// Requests that may wait for a look-up.
const WAITING: usize = 1024;
/// Requests that may wait for their turn to change something.
const QUEUE: usize = 32;

type Found = Result<Option<ConsoleSession>, QueryError>;

pub struct Sessions {
    /// Longest time that a session may be without use.
    idle: Duration,
    /// Who waits for a look-up, by what is presented.
    waiting: HashMap<Presented, Vec<oneshot::Sender<Found>>>,
    /// Absent while the database is queried.
    session: Option<Session>,
    changes: SharedSession,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct SessionsParts {
    pub settings: Settings,
}

impl Sessions {
    pub fn new(SessionsParts { settings }: SessionsParts, vitals: Vitals) -> Self {
        let cannot = "sessions of the console cannot be changed";
        Self {
            idle: settings.console.idle_timeout(),
            waiting: HashMap::new(),
            changes: SharedSession::new(&settings, QUEUE, DATABASE_TIMEOUT, cannot),
            session: Some(Session::new(settings.database)),
            vitals,
        }
    }

    /// Queries the database for all that is waited for, unless it is being queried.
    fn look_up(&mut self, ctx: &mut Context<Self>) {
        if self.waiting.is_empty() || self.is_at_work() {
            return;
        }
        let (waiting, idle) = (std::mem::take(&mut self.waiting), self.idle);
        let presented: Vec<Presented> = waiting.keys().copied().collect();
        let work = async move |session: &mut Session, _: &Working| {
            session.run_within(DATABASE_TIMEOUT, async |conn| table::find(conn, &presented, idle).await).await
        };
        self.begin(ctx, work, |actor, found, ctx| {
            let found = found.map_err(|error| refuse(&error, "sessions of the console cannot be looked up"));
            for (presented, waiting) in waiting {
                let session = found.as_ref().map_err(|error| *error).map(|found| {
                    let own =
                        found.iter().find(|(sha256, port, _)| (*sha256, *port) == (presented.sha256, presented.port));
                    own.map(|(.., session)| session.clone())
                });
                for sender in waiting {
                    // Closed: the client has gone away meanwhile.
                    let _ = sender.send(session.clone());
                }
            }
            actor.look_up(ctx);
        });
    }
}

supervised!(Sessions, session: Session);

impl Actor for Sessions {
    type Context = Context<Self>;
}

/// Whose session is this? None: there is no such session, or it has ended.
#[derive(Message)]
#[rtype(result = "Result<Option<ConsoleSession>, QueryError>")]
pub struct FindSession(pub Presented);

impl Handler<FindSession> for Sessions {
    type Result = ResponseFuture<Found>;

    fn handle(&mut self, FindSession(presented): FindSession, ctx: &mut Self::Context) -> Self::Result {
        if self.waiting.values().map(Vec::len).sum::<usize>() >= WAITING {
            return Box::pin(async { Err(QueryError::Busy) });
        }
        let (sender, found) = oneshot::channel();
        self.waiting.entry(presented).or_default().push(sender);
        self.look_up(ctx);
        // Closed: the actor has ended.
        Box::pin(async move { found.await.unwrap_or(Err(QueryError::Unavailable)) })
    }
}

/// Begin a session for a credential that was accepted.
#[derive(Message)]
#[rtype(result = "Result<(), QueryError>")]
pub struct BeginSession {
    pub new: NewSession,
    pub grant: Grant,
    /// When the credential expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// What is recorded together with it.
    pub act: AuditEvent,
}

impl Handler<BeginSession> for Sessions {
    type Result = ResponseFuture<Result<(), QueryError>>;

    fn handle(&mut self, begin: BeginSession, _: &mut Self::Context) -> Self::Result {
        let (changes, working) = (self.changes.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let BeginSession { new, grant, expires_at, act } = begin;
            changes.serve(async |conn| table::begin(conn, &new, &grant, expires_at, &act).await).await
        })
    }
}

/// Begin a session by a link, which is used up by that. None: it is not good, or not any more.
#[derive(Message)]
#[rtype(result = "Result<Option<Grant>, QueryError>")]
pub struct RedeemLink {
    pub link_sha256: SecretHash,
    pub new: NewSession,
    /// What is recorded together with it, of a subject that the link names.
    pub act: AuditEvent,
}

impl Handler<RedeemLink> for Sessions {
    type Result = ResponseFuture<Result<Option<Grant>, QueryError>>;

    fn handle(&mut self, redeem: RedeemLink, _: &mut Self::Context) -> Self::Result {
        let (changes, working) = (self.changes.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let RedeemLink { link_sha256, new, act } = redeem;
            changes.serve(async |conn| table::redeem(conn, link_sha256, &new, |grant| done_by(grant, &act)).await).await
        })
    }
}

/// End a session. One that has ended stays so.
#[derive(Message)]
#[rtype(result = "Result<(), QueryError>")]
pub struct EndSession {
    pub sha256: SecretHash,
    pub port: ConsolePort,
    /// What is recorded together with it, of the subject that the session is for.
    pub act: AuditEvent,
}

impl Handler<EndSession> for Sessions {
    type Result = ResponseFuture<Result<(), QueryError>>;

    fn handle(&mut self, end: EndSession, _: &mut Self::Context) -> Self::Result {
        let (changes, working) = (self.changes.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let EndSession { sha256, port, act } = end;
            changes.serve(async |conn| table::end(conn, sha256, port, |grant| done_by(grant, &act)).await).await
        })
    }
}

/// The act as one of whoever the session is for, who is known only from the database.
fn done_by(grant: &Grant, act: &AuditEvent) -> AuditEvent {
    let roles = grant.roles.iter().filter_map(|role| role.parse::<Role>().ok()).map(Role::as_str).collect();
    let actor =
        AuditActor { subject: Some(grant.subject.clone()), credential: grant.credential, roles, ..act.actor.clone() };
    AuditEvent { actor, ..act.clone() }.of_org(grant.org_ids.first().copied())
}
