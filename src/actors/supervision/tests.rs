//! Groups of real actors under a supervisor: what it does about each kind of end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::{
    exit::{Cause, Drain, End, ExitGuard},
    group::{Exhausted, Member, Start},
    liveness::Liveness,
    log::SupervisionLog,
    orders::{Drill, Restart, RestartError, Retire, StopMode, Supervise},
    registry::Registry,
    supervisor::{Fatal, Supervisor, SupervisorParts},
};
use crate::{
    config::Settings,
    domain::supervision::What,
    telemetry::{metrics::Metrics, readiness::Readiness},
};

/// Longest without progress.
const DEADLINE: Duration = Duration::from_millis(300);

/// An actor that does nothing, and fails in the way that it is asked to.
struct Worker {
    liveness: Liveness,
    exit: ExitGuard,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<End> for Worker {
    type Result = ();
    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        end.obey(&self.liveness, ctx);
    }
}

impl Handler<Drain> for Worker {
    type Result = ();
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct EndWith(Cause);

impl Handler<EndWith> for Worker {
    type Result = ();
    fn handle(&mut self, EndWith(cause): EndWith, ctx: &mut Self::Context) {
        self.exit.note(cause);
        ctx.stop();
    }
}

/// A supervisor with one group of two, `pair`, and the way to its first member.
struct Stage {
    supervisor: Addr<Supervisor>,
    registry: Registry,
    log: SupervisionLog,
    readiness: Readiness,
    fatals: mpsc::UnboundedReceiver<Fatal>,
    members: mpsc::UnboundedReceiver<Addr<Worker>>,
    starts: Arc<AtomicU32>,
}

impl Stage {
    async fn new(exhausted: Exhausted, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("ANALYTICS__SUPERVISION__BACKOFF_INITIAL_MS", "1"),
            ("ANALYTICS__SUPERVISION__BACKOFF_MAX_MS", "2"),
            ("ANALYTICS__SUPERVISION__MAX_RESTARTS", "2"),
        ];
        all.extend(variables);
        let variables = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = Settings::from_variables(variables.collect()).unwrap();
        let (fatal, fatals) = mpsc::unbounded_channel();
        let metrics = Metrics::default();
        let (registry, readiness) = (Registry::default(), Readiness::default());
        let log = SupervisionLog::new("host/1", metrics.clone());
        let parts = SupervisorParts {
            settings: settings.supervision,
            log: log.clone(),
            registry: registry.clone(),
            metrics,
            readiness: readiness.clone(),
            fatal,
        };
        let supervisor = Supervisor::new(parts).start();
        let (sender, members) = mpsc::unbounded_channel();
        let starts = Arc::new(AtomicU32::new(0));
        let start = pair(sender, Arc::clone(&starts));
        supervisor.send(Supervise { name: "pair".to_owned(), exhausted, start }).await.unwrap();
        Self { supervisor, registry, log, readiness, fatals, members, starts }
    }

    /// The first member of the next start.
    async fn next(&mut self) -> Addr<Worker> {
        tokio::time::timeout(Duration::from_secs(5), self.members.recv()).await.unwrap().unwrap()
    }

    async fn until(&self, what: What) {
        let noted = || self.log.recent().iter().any(|event| event.what == what);
        while !noted() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn noted(&self) -> Vec<What> {
        let mut noted: Vec<What> = self.log.recent().iter().map(|event| event.what).collect();
        noted.reverse();
        noted
    }
}

fn pair(sender: mpsc::UnboundedSender<Addr<Worker>>, starts: Arc<AtomicU32>) -> Start {
    Box::new(move |launch| {
        starts.fetch_add(1, Relaxed);
        let thread = Arbiter::new().handle();
        let members = ["one", "two"].map(|name| {
            let (liveness, exit) = (Liveness::default(), launch.exit(name));
            let given = liveness.clone();
            let actor = Worker::start_in_arbiter(&thread, move |_| Worker { liveness: given, exit });
            if name == "one" {
                sender.send(actor.clone()).unwrap();
            }
            Member {
                name: name.to_owned(),
                end: actor.clone().recipient(),
                drain: Some(actor.recipient()),
                liveness,
                deadline: DEADLINE,
            }
        });
        async move { Ok(members.into()) }.boxed_local()
    })
}

#[actix::test]
async fn the_end_of_one_member_restarts_all() {
    let mut stage = Stage::new(Exhausted::Park, &[("ANALYTICS__SUPERVISION__MAX_RESTARTS", "9")]).await;
    let mut one = stage.next().await;
    for end in [End::Panic, End::PanicInFuture, End::Stop] {
        one.do_send(end);
        let again = stage.next().await;
        assert!(!one.connected());
        one = again;
    }
    one.do_send(EndWith(Cause::Failed("no luck".to_owned())));
    stage.next().await;
    assert_eq!(stage.noted().iter().filter(|what| **what == What::Failed).count(), 4);
    let failed = stage.log.recent().into_iter().find(|event| event.what == What::Failed).unwrap();
    assert_eq!((failed.cause.as_deref(), failed.generation), (Some("one: no luck"), 4));
}

#[actix::test]
async fn an_operator_starts_a_parked_partition() {
    let mut stage = Stage::new(Exhausted::Park, &[]).await;
    for _ in 0..3 {
        stage.next().await.do_send(End::Panic);
    }
    stage.until(What::Parked).await;
    let tree = stage.registry.tree();
    assert_eq!((tree[0].name.as_str(), tree[0].restarts), ("pair", 0));
    assert!(serde_json::to_string(&stage.readiness.snapshot()).unwrap().contains("panicked"));
    assert_eq!(stage.starts.load(Relaxed), 3);
    let restart = Restart { actor: "pair".to_owned(), by_whom: "ann".to_owned() };
    stage.supervisor.send(restart).await.unwrap().unwrap();
    stage.next().await;
    assert!(stage.fatals.try_recv().is_err());
}

#[actix::test]
async fn a_parked_group_restarts_after_its_pause() {
    let mut stage = Stage::new(Exhausted::Park, &[("ANALYTICS__SUPERVISION__PARK_MS", "1000")]).await;
    stage.next().await.do_send(EndWith(Cause::Unfit("the schema does not fit".to_owned())));
    stage.until(What::Parked).await;
    assert!(!stage.noted().contains(&What::Failed), "it is of no use to try again at once");
    stage.next().await;
}

#[actix::test]
async fn an_essential_group_without_restarts_ends_the_process() {
    let mut stage = Stage::new(Exhausted::Escalate, &[]).await;
    for _ in 0..3 {
        stage.next().await.do_send(End::Panic);
    }
    let Fatal(why) = stage.fatals.recv().await.unwrap();
    assert!(why.starts_with("pair is out of restarts: one: panicked"), "{why}");
}

#[actix::test]
async fn operator_restarts_spend_no_restarts() {
    let mut stage = Stage::new(Exhausted::Escalate, &[]).await;
    for _ in 0..9 {
        stage.next().await;
        let restart = Restart { actor: "two".to_owned(), by_whom: "ann".to_owned() };
        while stage.supervisor.send(restart.clone()).await.unwrap() != Ok(()) {
            tokio::task::yield_now().await;
        }
    }
    stage.next().await;
    assert!(stage.fatals.try_recv().is_err());
    assert!(!stage.noted().contains(&What::Failed));
    let unknown = Restart { actor: "three".to_owned(), by_whom: "ann".to_owned() };
    assert_eq!(stage.supervisor.send(unknown).await.unwrap(), Err(RestartError::Unknown));
}

#[actix::test]
async fn an_actor_without_progress_is_restarted() {
    let mut stage = Stage::new(Exhausted::Park, &[]).await;
    stage.next().await;
    stage.until(What::Started).await;
    let drill = Drill { actor: "two".to_owned(), end: End::Hang, by_whom: "ann".to_owned() };
    stage.supervisor.send(drill).await.unwrap().unwrap();
    stage.next().await;
    assert_eq!(stage.noted()[..4], [What::Started, What::Drilled, What::Stalled, What::Failed]);
}

#[actix::test]
async fn a_retired_group_drains_in_order() {
    let mut stage = Stage::new(Exhausted::Park, &[]).await;
    let one = stage.next().await;
    stage.until(What::Started).await;
    let retire = |mode| Retire { name: "pair".to_owned(), mode };
    stage.supervisor.send(retire(StopMode::Drain)).await.unwrap();
    assert!(!one.connected() && !stage.registry.contains("pair"));
    assert_eq!(stage.noted(), [What::Started, What::Stopped]);
    stage.supervisor.send(retire(StopMode::Drop)).await.unwrap();
}

#[actix::test]
async fn a_member_that_ends_early_is_not_alive() {
    let stage = Stage::new(Exhausted::Park, &[]).await;
    let start: Start = Box::new(|launch| {
        drop(launch.exit("brief"));
        async move {
            // Its end is reported before the supervisor knows the member.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let gone = Gone.start().recipient();
            Ok(vec![Member {
                name: "brief".to_owned(),
                end: gone,
                drain: None,
                liveness: Liveness::default(),
                deadline: DEADLINE,
            }])
        }
        .boxed_local()
    });
    stage.supervisor.send(Supervise { name: "brief".to_owned(), exhausted: Exhausted::Park, start }).await.unwrap();
    stage.until(What::Parked).await;
}

/// Ignores every order.
struct Gone;
impl Actor for Gone {
    type Context = Context<Self>;
}
impl Handler<End> for Gone {
    type Result = ();
    fn handle(&mut self, _: End, _: &mut Self::Context) {}
}

#[actix::test]
async fn a_panic_in_a_factory_is_a_failure() {
    let mut stage = Stage::new(Exhausted::Park, &[]).await;
    stage.next().await;
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let start: Start = Box::new(move |_| {
        assert!(counted.fetch_add(1, Relaxed) > 0, "the first start fails");
        async { panic!("and the others too") }.boxed_local()
    });
    stage.supervisor.send(Supervise { name: "odd".to_owned(), exhausted: Exhausted::Park, start }).await.unwrap();
    stage.until(What::Parked).await;
    assert_eq!(starts.load(Relaxed), 3);
}
