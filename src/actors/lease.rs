//! Lease: keeps this process among those that share the partitions, and its pipelines to the partitions that it holds.
//! In: Drain, End. Out: Supervise and Retire to the supervisor.
//! Failure: database away → nobody else can take anything either: the pipelines stay and wait; tried again each interval.
//! Bound: one look at a time.

use std::{collections::BTreeSet, time::Instant};

use actix::prelude::*;

use crate::{
    actors::{
        partition::{self, PartitionParts, Threads, group_name},
        supervision::{
            exit::{Drain, End, ExitGuard},
            log::Note,
            pulse::Pulse,
            supervisor::{Exhausted, Restart, Retire, Supervise, Supervisor, Way},
        },
    },
    config::{self, Settings},
    domain::{
        lease::{Holding, Plan, Watch, plan},
        partition::Topology,
        supervision::What,
    },
    store::{
        Session, StoreError,
        lease::{self, Identity},
    },
};

pub struct Lease {
    parts: LeaseParts,
    /// Absent while it is at work.
    desk: Option<Desk>,
    draining: bool,
}

pub struct LeaseParts {
    pub settings: Settings,
    pub identity: Identity,
    pub supervisor: Addr<Supervisor>,
    pub partitions: PartitionParts,
    /// Sets that the partitions share.
    pub threads: Vec<Threads>,
    pub pulse: Pulse,
    pub exit: ExitGuard,
}

impl Lease {
    pub fn new(parts: LeaseParts) -> Self {
        let mut database = parts.settings.database.clone();
        // The lease must be renewed before it expires, or be known to be lost.
        database.write_timeout_ms = database.write_timeout_ms.min(parts.settings.lease.ttl_ms / 2);
        let desk = Desk {
            session: Session::new(database),
            identity: parts.identity.clone(),
            settings: parts.settings.lease,
            topology: parts.settings.broker.topology(),
            watch: Watch::default(),
            enrolled: false,
            began: Instant::now(),
        };
        Self { parts, desk: Some(desk), draining: false }
    }

    /// Renews the lease, and does about the partitions what is to be done.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(mut desk) = self.desk.take() else { return };
        let (working, leaving) = (self.working(), self.draining);
        let beat = self.parts.pulse.work();
        let looking = async move {
            let plan = desk.look(&working, leaving).await;
            (desk, plan)
        };
        ctx.spawn(looking.into_actor(self).map(move |(desk, looked), actor, ctx| {
            drop(beat);
            match looked {
                Ok(look) => actor.carry_out(desk, look, ctx),
                Err(error) => {
                    tracing::warn!(%error, "the lease waits for the database");
                    actor.desk = Some(desk);
                    // Nobody can be told: the others see the lock go, or the lease expire.
                    if actor.draining {
                        ctx.stop();
                    }
                }
            }
        }));
    }

    fn carry_out(&mut self, mut desk: Desk, look: Look, ctx: &mut Context<Self>) {
        let Look { plan, taken, holdings } = look;
        for partition in taken.iter().map(|holding| holding.partition) {
            self.tell(partition, What::Taken);
        }
        for partition in plan.work.iter().copied().chain(taken.iter().map(|holding| holding.partition)) {
            self.work(partition);
        }
        for partition in &plan.drop {
            self.parts.supervisor.do_send(Retire { name: group_name(*partition), way: Way::Drop });
        }
        self.restart_where_reset(&holdings, &plan);
        if plan.give_back.is_empty() {
            self.desk = Some(desk);
            if self.draining && self.working().is_empty() {
                self.leave(ctx);
            }
            return;
        }
        // The lease is renewed meanwhile by whoever comes next: giving back does not hold it up.
        let (supervisor, pulse) = (self.parts.supervisor.clone(), self.parts.pulse.clone());
        let retiring = plan.give_back.iter().map(|partition| {
            let retire = Retire { name: group_name(*partition), way: Way::Drain };
            supervisor.send(retire)
        });
        let retiring = futures_util::future::join_all(retiring);
        let ended = async move {
            let working = pulse.work();
            let mut retiring = std::pin::pin!(retiring);
            // As long as it takes: the drain of the whole has its own deadline.
            loop {
                match tokio::time::timeout(desk.settings.interval(), &mut retiring).await {
                    Ok(_) => break,
                    Err(_) => {
                        working.beat();
                        desk.renew().await;
                    }
                }
            }
            let mut given = Vec::new();
            for partition in plan.give_back {
                match desk.give_back(partition).await {
                    Ok(()) => given.push(partition),
                    Err(error) => tracing::warn!(%error, partition, "a partition cannot be given back yet"),
                }
            }
            (desk, given)
        };
        ctx.spawn(ended.into_actor(self).map(|(desk, given), actor, ctx| {
            for partition in given {
                actor.tell(partition, What::Released);
            }
            actor.desk = Some(desk);
            actor.look(ctx);
        }));
    }

    /// An operator started a new incarnation of what is worked on here, or what is parked for want of one.
    fn restart_where_reset(&self, holdings: &[Holding], plan: &Plan) {
        let registry = &self.parts.partitions.registry;
        let kept = holdings.iter().filter(|holding| {
            holding.owner == Some(self.parts.identity.id) && !plan.give_back.contains(&holding.partition)
        });
        for holding in kept {
            let name = group_name(holding.partition);
            let known = registry.progress(&name).incarnation();
            if known != 0 && known != holding.incarnation && registry.contains(&name) {
                self.parts.supervisor.do_send(Restart { actor: name, by_whom: "partitions reset".to_owned() });
            }
        }
    }

    fn tell(&self, partition: u16, what: What) {
        self.parts.partitions.log.note(Note::new(&group_name(partition), what));
    }

    fn work(&self, partition: u16) {
        let threads = self.parts.threads[usize::from(partition) % self.parts.threads.len()].clone();
        let start = partition::factory(self.parts.partitions.clone(), partition, threads);
        let name = group_name(partition);
        self.parts.supervisor.do_send(Supervise { name, exhausted: Exhausted::Park, start });
    }

    /// The partitions that have a pipeline here.
    fn working(&self) -> BTreeSet<u16> {
        let registry = &self.parts.partitions.registry;
        (0..self.parts.settings.broker.partitions).filter(|n| registry.contains(&group_name(*n))).collect()
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        let Some(mut desk) = self.desk.take() else { return };
        let leaving = async move { desk.leave().await };
        ctx.spawn(leaving.into_actor(self).map(|left, _, ctx| {
            if let Err(error) = left {
                tracing::warn!(%error, "the lease is left to expire");
            }
            ctx.stop();
        }));
    }
}

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

impl Handler<End> for Lease {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        end.obey(&self.parts.pulse, ctx);
    }
}

/// The session that holds the lease, and what it takes to use it.
struct Desk {
    session: Session,
    identity: Identity,
    settings: config::Lease,
    topology: Topology,
    watch: Watch,
    enrolled: bool,
    began: Instant,
}

/// What was seen and done.
struct Look {
    plan: Plan,
    taken: Vec<Holding>,
    holdings: Vec<Holding>,
}

impl Desk {
    async fn look(&mut self, working: &BTreeSet<u16>, leaving: bool) -> Result<Look, StoreError> {
        let Self { session, identity, settings, topology, watch, enrolled, began } = self;
        session
            .run(async |conn| {
                if !*enrolled {
                    lease::enrol(conn, topology).await?;
                    *enrolled = true;
                }
                let view = lease::renew(conn, identity, settings.ttl(), topology).await?;
                let living = watch.living(identity.id, &view.processes, began.elapsed(), settings.grace());
                let plan = plan(identity.id, &living, &view.holdings, working, leaving);
                for dead in &plan.dead {
                    let ended = lease::evict(conn, *dead).await?;
                    tracing::warn!(process = %dead, sessions = ended, "a process is dead, its partitions are taken over");
                }
                let mut taken = Vec::new();
                for holding in &plan.take {
                    if lease::take(conn, topology, holding, identity.id).await? {
                        taken.push(*holding);
                    }
                }
                Ok(Look { plan, taken, holdings: view.holdings })
            })
            .await
    }

    /// Keeps the lease; a failure shows at the next look.
    async fn renew(&mut self) {
        let Self { session, identity, settings, topology, .. } = self;
        if let Err(error) = session.run(async |conn| lease::renew(conn, identity, settings.ttl(), topology).await).await
        {
            tracing::warn!(%error, "the lease waits for the database");
        }
    }

    async fn give_back(&mut self, partition: u16) -> Result<(), StoreError> {
        let Self { session, identity, topology, .. } = self;
        session.run(async |conn| lease::give_back(conn, topology, partition, identity.id).await).await
    }

    async fn leave(&mut self) -> Result<(), StoreError> {
        let Self { session, identity, .. } = self;
        session.run(async |conn| lease::leave(conn, identity.id).await).await
    }
}
