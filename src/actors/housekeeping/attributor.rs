//! Attributor: keeps the sums by client, person, team and error. Folds what batches have left, counts again what has to be, and counts
//! the history of new sets.
//! In: End. Out: nothing.
//! Failure: database away → tries again at the next look. Wherever it ends, what is under way is given up with its transaction.
//! Bound: one step at a time among all processes; a step folds about 8 MiB, or counts one day.

use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::{
    actors::supervision::{
        liveness::Working,
        vitals::{OneAtATime as _, Vitals, supervised},
    },
    config::Settings,
    store::{
        PgConnection, Session, StoreError,
        attribution::{fold, recount, sets, unreadable},
        connect_loader,
    },
    telemetry::metrics::Metrics,
};

/// How often is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often long work gives a sign of life, and how long one step of it may take.
const BEAT_EVERY: Duration = Duration::from_secs(5);
const LONGEST_STEP: Duration = Duration::from_secs(35 * 60);

pub struct Attributor {
    /// Absent while it is at work.
    worker: Option<Worker>,
    vitals: Vitals,
}

#[derive(Clone)]
pub struct AttributorParts {
    pub settings: Settings,
    pub metrics: Metrics,
}

impl Attributor {
    pub fn new(parts: AttributorParts, vitals: Vitals) -> Self {
        let AttributorParts { settings, metrics } = parts;
        let session = Session::new(settings.database.clone());
        let worker = Worker { settings, metrics, session, counting: None, folded: None, counts: true };
        Self { worker: Some(worker), vitals }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let work = async move |worker: &mut Worker, working: &Working| worker.look(working).await;
        self.begin(ctx, work, |_, looked, _| {
            if let Err(error) = looked {
                tracing::warn!(%error, "attribution waits");
            }
        });
    }
}

supervised!(Attributor, worker: Worker);

impl Actor for Attributor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The sets that are wanted are kept from now on.
        self.look(ctx);
        ctx.run_interval(LOOK_EVERY, |actor, ctx| actor.look(ctx));
    }
}

/// What it takes to fold and to count.
struct Worker {
    settings: Settings,
    metrics: Metrics,
    session: Session,
    /// For statements that take long.
    counting: Option<PgConnection>,
    /// When folding began last.
    folded: Option<Instant>,
    /// There may be more to count.
    counts: bool,
}

impl Worker {
    async fn look(&mut self, working: &Working) -> Result<(), StoreError> {
        if self.folded.is_none_or(|at| at.elapsed() >= self.settings.attribution.fold_every()) {
            self.folded = Some(Instant::now());
            self.fold(working).await?;
            // What was folded may have named days that have to be counted.
            self.counts = true;
        }
        if self.counts {
            self.counts = self.count(working).await?;
        }
        Ok(())
    }

    async fn fold(&mut self, working: &Working) -> Result<(), StoreError> {
        let of = &self.settings.attribution;
        let (wanted, max_keys, every) = (of.sets(), of.max_keys, of.fold_every());
        let max_ahead = self.settings.events.max_ahead();
        self.session.run(async |conn| sets::want(conn, &wanted, max_keys, max_ahead).await).await?;
        // One that cannot be folded does not hold the others up.
        let mut failed = Ok(());
        for (stream, partition) in self.session.run(async |conn| fold::due(conn, every).await).await? {
            match self.fold_all(working, &stream, partition).await {
                Err(error) if !error.is_transient() && self.replace_unreadable(working).await? => {
                    failed = failed.and(self.fold_all(working, &stream, partition).await);
                }
                folded => failed = failed.and(folded),
            }
        }
        failed
    }

    async fn fold_all(&mut self, working: &Working, stream: &str, partition: i32) -> Result<(), StoreError> {
        loop {
            working.beat();
            let folded = self.session.run(async |conn| fold::fold(conn, stream, partition).await).await?;
            if !folded.more || folded.busy {
                return Ok(());
            }
        }
    }

    /// Has the days counted again of rows that cannot be read. Whether there were any.
    async fn replace_unreadable(&mut self, working: &Working) -> Result<bool, StoreError> {
        let mut conn = connect_loader(&self.settings.database).await?;
        let replaced = beating(working, unreadable::replace_all(&mut conn)).await?;
        self.metrics.attribution_unreadable(replaced.len());
        Ok(!replaced.is_empty())
    }

    /// Counts one day, if there is one to count. Whether there may be more.
    async fn count(&mut self, working: &Working) -> Result<bool, StoreError> {
        let mut conn = match self.counting.take() {
            Some(conn) => conn,
            None => connect_loader(&self.settings.database).await?,
        };
        let retention = self.settings.attribution.retention();
        let counted = beating(working, async {
            if let Some((org_id, day)) = recount::next_noted(&mut conn).await? {
                tracing::info!(%org_id, %day, "attribution of a day was counted again");
                return Ok(true);
            }
            let counted = recount::next_of_history(&mut conn, &retention).await?;
            if let Some((set, day)) = counted {
                tracing::info!(set, %day, "a day of the history of a set was counted");
            }
            Ok::<_, StoreError>(counted.is_some())
        })
        .await?;
        if counted {
            self.counting = Some(conn);
        }
        Ok(counted)
    }
}

/// Reports liveness while a step is under way.
async fn beating<T>(working: &Working, step: impl Future<Output = T>) -> T {
    let (mut step, began) = (std::pin::pin!(step), Instant::now());
    loop {
        match tokio::time::timeout(BEAT_EVERY, &mut step).await {
            Ok(done) => return done,
            Err(_) if began.elapsed() < LONGEST_STEP => working.beat(),
            Err(_) => {}
        }
    }
}
