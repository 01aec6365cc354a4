//! Lease: keeps this process among those that share the partitions, and its pipelines to the partitions that it holds.
//! In: Drain, End. Out: Supervise and Retire to the supervisor.
//! Failure: database away → no other process can take anything either: the pipelines stay and wait; tried again each interval.
//! Bound: one look at a time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tracing::Instrument as _;

use crate::{
    actors::{
        pipeline::partition::{self, PartitionParts, Threads, group_name},
        supervision::{
            exit::Drain,
            group::Exhausted,
            liveness::Working,
            log::Note,
            orders::{Restart, Retire, StopMode, Supervise},
            supervisor::Supervisor,
            vitals::{OneAtATime as _, Supervised as _, Vitals, supervised},
        },
    },
    config::{self, Settings},
    domain::{
        lease::{Holding, Plan, Watch, plan},
        partition::Topology,
        supervision::SupervisionKind,
    },
    store::{
        Session, StoreError,
        ingest::{
            layout,
            lease::{self, Identity},
        },
        schema,
    },
    telemetry::traces::spans,
};

/// How often it is made sure that this build still works with the schema.
const SCHEMA_CHECKED_EVERY: Duration = Duration::from_secs(5);

pub struct Lease {
    parts: LeaseParts,
    vitals: Vitals,
    /// Absent while it is at work.
    lease_session: Option<LeaseSession>,
    /// Partitions that are being finished, and those that are finished and to be given back.
    retiring: BTreeSet<u16>,
    ended: BTreeSet<u16>,
    /// Looks that failed one after another.
    failures: u32,
    draining: bool,
}

/// So many looks may fail before a process that is about to end does so without giving anything back.
const PATIENCE: u32 = 3;

#[derive(Clone)]
pub struct LeaseParts {
    pub settings: Settings,
    pub identity: Identity,
    pub supervisor: Addr<Supervisor>,
    pub partitions: PartitionParts,
    /// Sets that the partitions share.
    pub threads: Vec<Threads>,
}

impl Lease {
    pub fn new(parts: LeaseParts, vitals: Vitals) -> Self {
        let mut database = parts.settings.database.clone();
        // The lease must be renewed before it expires, or be known to be lost.
        database.write_timeout_ms = database.write_timeout_ms.min(parts.settings.lease.ttl_ms / 2);
        let lease_session = LeaseSession {
            session: Session::new(database),
            identity: parts.identity.clone(),
            settings: parts.settings.lease,
            topology: parts.settings.broker.topology(),
            watch: Watch::default(),
            enrolled: false,
            schema_check_due: Instant::now(),
            began: Instant::now(),
        };
        Self {
            parts,
            vitals,
            lease_session: Some(lease_session),
            retiring: BTreeSet::new(),
            ended: BTreeSet::new(),
            failures: 0,
            draining: false,
        }
    }

    /// Renews the lease, and does about the partitions what is to be done.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let (with_pipeline, ended, leaving) = (self.with_pipeline(), self.ended.clone(), self.draining);
        let work = async move |session: &mut LeaseSession, _: &Working| {
            let looked = session.look(&with_pipeline, &ended, leaving).await;
            if looked.is_err() {
                // What was seen before says nothing about now.
                session.watch = Watch::default();
            }
            looked
        };
        self.begin(ctx, work, |actor, looked, ctx| match looked {
            Ok(look) => {
                actor.failures = 0;
                actor.carry_out(look, ctx);
            }
            // Nothing here is as the others have it: the process ends.
            Err(error @ StoreError::Unfit(_)) => actor.end_with(error, ctx),
            Err(error) => {
                tracing::warn!(%error, "the lease waits for the database");
                actor.failures += 1;
                // No other process can be notified: they see the lock go, or the lease expire.
                if actor.draining && actor.failures >= PATIENCE {
                    ctx.stop();
                }
            }
        });
    }

    fn carry_out(&mut self, look: Look, ctx: &mut Context<Self>) {
        let Look { plan, taken, given, holdings } = look;
        // Before pipelines start, and behind what was given back.
        let held = holdings.iter().filter(|holding| holding.owner == Some(self.parts.identity.id)).chain(&taken);
        self.parts.partitions.metrics.partitions_owned(&held.map(|holding| holding.partition).collect());
        for partition in given {
            self.ended.remove(&partition);
            self.note(partition, SupervisionKind::Released);
        }
        for partition in taken.iter().map(|holding| holding.partition) {
            self.note(partition, SupervisionKind::Taken);
        }
        for partition in plan.work.iter().copied().chain(taken.iter().map(|holding| holding.partition)) {
            if !self.ended.contains(&partition) {
                self.work(partition);
            }
        }
        for partition in &plan.drop {
            self.parts.supervisor.do_send(Retire { name: group_name(*partition), mode: StopMode::Drop });
        }
        self.restart_where_reset(&holdings, &plan);
        for partition in plan.give_back {
            self.retire(partition, ctx);
        }
        if self.draining && self.retiring.is_empty() && self.ended.is_empty() && self.with_pipeline().is_empty() {
            self.leave(ctx);
        }
    }

    /// Finishes a partition's pipeline; when it has ended the partition is given back at the next look.
    fn retire(&mut self, partition: u16, ctx: &mut Context<Self>) {
        if self.ended.contains(&partition) || !self.retiring.insert(partition) {
            return;
        }
        let retiring = self.parts.supervisor.send(Retire { name: group_name(partition), mode: StopMode::Drain });
        ctx.spawn(retiring.into_actor(self).map(move |_, actor, ctx| {
            actor.retiring.remove(&partition);
            actor.ended.insert(partition);
            actor.look(ctx);
        }));
    }

    /// An operator started a new incarnation of what is worked on here, or what is parked for want of one; or passed over what
    /// it is parked at, which adds to the epoch. What is not parked finds out by itself.
    fn restart_where_reset(&self, holdings: &[Holding], plan: &Plan) {
        let registry = &self.parts.partitions.registry;
        let kept = holdings.iter().filter(|holding| {
            holding.owner == Some(self.parts.identity.id) && !plan.give_back.contains(&holding.partition)
        });
        for holding in kept {
            let name = group_name(holding.partition);
            let progress = registry.progress(&name);
            let known = progress.incarnation();
            if known == 0 || !registry.contains(&name) {
                continue;
            }
            let command = if known != holding.incarnation {
                "partitions reset"
            } else if registry.is_parked(&name) && holding.epoch > progress.epoch() {
                "partitions skip"
            } else {
                continue;
            };
            self.parts.supervisor.do_send(Restart { actor: name, by_whom: command.to_owned() });
        }
    }

    fn note(&self, partition: u16, what: SupervisionKind) {
        self.parts.partitions.log.note(Note::new(&group_name(partition), what));
    }

    fn work(&self, partition: u16) {
        let threads = self.parts.threads[usize::from(partition) % self.parts.threads.len()].clone();
        let start = partition::factory(self.parts.partitions.clone(), partition, threads);
        let name = group_name(partition);
        self.parts.supervisor.do_send(Supervise { name, exhausted: Exhausted::Park, start });
    }

    /// The partitions that have a pipeline here.
    fn with_pipeline(&self) -> BTreeSet<u16> {
        let registry = &self.parts.partitions.registry;
        (0..self.parts.settings.broker.partitions).filter(|n| registry.contains(&group_name(*n))).collect()
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.begin(
            ctx,
            async |session: &mut LeaseSession, _: &Working| session.leave().await,
            |_, left, ctx| {
                if let Err(error) = left {
                    tracing::warn!(%error, "the lease is left to expire");
                }
                ctx.stop();
            },
        );
    }
}

supervised!(Lease, lease_session: LeaseSession);

impl Actor for Lease {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(self.parts.settings.lease.interval(), |actor, ctx| actor.look(ctx));
    }
}

impl Handler<Drain> for Lease {
    type Result = ();

    /// Gives all partitions back, each when it is drained, then ends.
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        self.look(ctx);
    }
}

/// The session that holds the lease, and what it takes to use it.
struct LeaseSession {
    session: Session,
    identity: Identity,
    settings: config::Lease,
    topology: Topology,
    watch: Watch,
    enrolled: bool,
    /// When the schema is to be checked next.
    schema_check_due: Instant,
    began: Instant,
}

/// What was seen and done.
struct Look {
    plan: Plan,
    taken: Vec<Holding>,
    /// Given back.
    given: BTreeSet<u16>,
    holdings: Vec<Holding>,
}

impl LeaseSession {
    async fn look(
        &mut self,
        working: &BTreeSet<u16>,
        ended: &BTreeSet<u16>,
        leaving: bool,
    ) -> Result<Look, StoreError> {
        let Self { session, identity, settings, topology, watch, enrolled, schema_check_due, began } = self;
        session
            .run(async |conn| {
                // First, since without its columns all else fails: whoever started or was frozen while the schema changed ends here.
                if Instant::now() >= *schema_check_due {
                    if let Err(error @ StoreError::Unfit(_)) = schema::check(conn).await {
                        return Err(error);
                    }
                    *schema_check_due = Instant::now() + SCHEMA_CHECKED_EVERY;
                }
                if !*enrolled {
                    lease::enrol(conn, topology).await?;
                }
                for partition in ended {
                    lease::give_back(conn, topology, *partition, identity.id).await?;
                }
                let view = lease::renew(conn, identity, settings.ttl(), topology).await?;
                let mismatch = match *enrolled {
                    true => layout::check(conn, topology).await?,
                    false => layout::agree_firmly(conn, topology).await?,
                };
                if let Some(mismatch) = mismatch {
                    return Err(StoreError::Unfit(mismatch.to_string()));
                }
                *enrolled = true;
                let living = watch.living(identity.id, &view.processes, began.elapsed(), settings.grace());
                let plan = plan(identity.id, &living, &view.holdings, working, leaving);
                for dead in &plan.dead {
                    let sessions = lease::evict(conn, *dead).await?;
                    tracing::warn!(process = %dead, sessions, "a process is dead, its partitions are taken over");
                }
                let mut taken = Vec::new();
                for holding in &plan.take {
                    let taking = lease::take(conn, topology, holding, identity.id);
                    if taking.instrument(spans::lease(holding.partition)).await? {
                        taken.push(*holding);
                    }
                }
                Ok(Look { plan, taken, given: ended.clone(), holdings: view.holdings })
            })
            .await
    }

    async fn leave(&mut self) -> Result<(), StoreError> {
        let Self { session, identity, .. } = self;
        session.run(async |conn| lease::leave(conn, identity.id).await).await
    }
}
