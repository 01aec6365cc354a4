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
    exit::{Cause, Drain, End},
    group::{Exhausted, Start},
    log::SupervisionLog,
    orders::{Drill, Restart, RestartError, Retire, StopMode, Supervise},
    registry::Registry,
    supervisor::{Fatal, Supervisor, SupervisorParts},
    vitals::{Supervised, Vitals, supervised},
};
use crate::{
    config::Settings,
    domain::supervision::SupervisionKind,
    telemetry::{metrics::Metrics, readiness::Readiness},
};

/// Longest without progress.
const DEADLINE: Duration = Duration::from_millis(300);

/// An actor that does nothing, and fails in the way that it is asked to.
struct Worker {
    vitals: Vitals,
}

supervised!(Worker);

impl Actor for Worker {
    type Context = Context<Self>;
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
        self.end_with(cause, ctx);
    }
}

/// A supervisor with one group of two, `pair`, and the way to its first member.
struct Fixture {
    supervisor: Addr<Supervisor>,
    registry: Registry,
    log: SupervisionLog,
    readiness: Readiness,
    fatals: mpsc::UnboundedReceiver<Fatal>,
    members: mpsc::UnboundedReceiver<Addr<Worker>>,
    starts: Arc<AtomicU32>,
}

impl Fixture {
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

    async fn until(&self, what: SupervisionKind) {
        let noted = || self.log.recent().iter().any(|event| event.what == what);
        while !noted() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn noted(&self) -> Vec<SupervisionKind> {
        let mut noted: Vec<SupervisionKind> = self.log.recent().iter().map(|event| event.what).collect();
        noted.reverse();
        noted
    }
}

fn pair(sender: mpsc::UnboundedSender<Addr<Worker>>, starts: Arc<AtomicU32>) -> Start {
    Box::new(move |launch| {
        starts.fetch_add(1, Relaxed);
        let thread = Arbiter::new().handle();
        let members = ["one", "two"].map(|name| {
            let (member, vitals) = launch.stage(name.to_owned(), DEADLINE);
            let actor = Worker::start_in_arbiter(&thread, move |_| Worker { vitals });
            if name == "one" {
                sender.send(actor.clone()).unwrap();
            }
            member.drains(&actor)
        });
        async move { Ok(members.into()) }.boxed_local()
    })
}

#[actix::test]
async fn the_end_of_one_member_restarts_all() {
    let mut fixture = Fixture::new(Exhausted::Park, &[("ANALYTICS__SUPERVISION__MAX_RESTARTS", "9")]).await;
    let mut one = fixture.next().await;
    for end in [End::Panic, End::PanicInFuture, End::Stop] {
        one.do_send(end);
        let again = fixture.next().await;
        assert!(!one.connected());
        one = again;
    }
    one.do_send(EndWith(Cause::Failed("no luck".to_owned())));
    fixture.next().await;
    assert_eq!(fixture.noted().iter().filter(|what| **what == SupervisionKind::Failed).count(), 4);
    let failed = fixture.log.recent().into_iter().find(|event| event.what == SupervisionKind::Failed).unwrap();
    assert_eq!((failed.cause.as_deref(), failed.generation), (Some("one: no luck"), 4));
}

#[actix::test]
async fn an_operator_starts_a_parked_partition() {
    let mut fixture = Fixture::new(Exhausted::Park, &[]).await;
    for _ in 0..3 {
        fixture.next().await.do_send(End::Panic);
    }
    fixture.until(SupervisionKind::Parked).await;
    let tree = fixture.registry.tree();
    assert_eq!((tree[0].name.as_str(), tree[0].restarts), ("pair", 0));
    assert!(serde_json::to_string(&fixture.readiness.snapshot()).unwrap().contains("panicked"));
    assert_eq!(fixture.starts.load(Relaxed), 3);
    let restart = Restart { actor: "pair".to_owned(), by_whom: "ann".to_owned() };
    fixture.supervisor.send(restart).await.unwrap().unwrap();
    fixture.next().await;
    assert!(fixture.fatals.try_recv().is_err());
}

#[actix::test]
async fn a_parked_group_restarts_after_its_pause() {
    let mut fixture = Fixture::new(Exhausted::Park, &[("ANALYTICS__SUPERVISION__PARK_MS", "1000")]).await;
    fixture.next().await.do_send(EndWith(Cause::Unfit("the schema does not fit".to_owned())));
    fixture.until(SupervisionKind::Parked).await;
    assert!(!fixture.noted().contains(&SupervisionKind::Failed), "it is of no use to try again at once");
    fixture.next().await;
}

#[actix::test]
async fn an_essential_group_without_restarts_ends_the_process() {
    let mut fixture = Fixture::new(Exhausted::Escalate, &[]).await;
    for _ in 0..3 {
        fixture.next().await.do_send(End::Panic);
    }
    let Fatal(why) = fixture.fatals.recv().await.unwrap();
    assert!(why.starts_with("pair is out of restarts: one: panicked"), "{why}");
}

#[actix::test]
async fn operator_restarts_spend_no_restarts() {
    let mut fixture = Fixture::new(Exhausted::Escalate, &[]).await;
    for _ in 0..9 {
        fixture.next().await;
        let restart = Restart { actor: "two".to_owned(), by_whom: "ann".to_owned() };
        while fixture.supervisor.send(restart.clone()).await.unwrap() != Ok(()) {
            tokio::task::yield_now().await;
        }
    }
    fixture.next().await;
    assert!(fixture.fatals.try_recv().is_err());
    assert!(!fixture.noted().contains(&SupervisionKind::Failed));
    let unknown = Restart { actor: "three".to_owned(), by_whom: "ann".to_owned() };
    assert_eq!(fixture.supervisor.send(unknown).await.unwrap(), Err(RestartError::Unknown));
}

#[actix::test]
async fn an_actor_without_progress_is_restarted() {
    let mut fixture = Fixture::new(Exhausted::Park, &[]).await;
    fixture.next().await;
    fixture.until(SupervisionKind::Started).await;
    let drill = Drill { actor: "two".to_owned(), end: End::Hang, by_whom: "ann".to_owned() };
    fixture.supervisor.send(drill).await.unwrap().unwrap();
    fixture.next().await;
    assert_eq!(
        fixture.noted()[..4],
        [SupervisionKind::Started, SupervisionKind::Drilled, SupervisionKind::Stalled, SupervisionKind::Failed]
    );
}

#[actix::test]
async fn a_retired_group_drains_in_order() {
    let mut fixture = Fixture::new(Exhausted::Park, &[]).await;
    let one = fixture.next().await;
    fixture.until(SupervisionKind::Started).await;
    let retire = |mode| Retire { name: "pair".to_owned(), mode };
    fixture.supervisor.send(retire(StopMode::Drain)).await.unwrap();
    assert!(!one.connected() && !fixture.registry.contains("pair"));
    assert_eq!(fixture.noted(), [SupervisionKind::Started, SupervisionKind::Stopped]);
    fixture.supervisor.send(retire(StopMode::Drop)).await.unwrap();
}

#[actix::test]
async fn a_member_that_ends_early_is_not_alive() {
    let fixture = Fixture::new(Exhausted::Park, &[]).await;
    let start: Start = Box::new(|launch| {
        let (stage, vitals) = launch.stage("brief".to_owned(), DEADLINE);
        drop(vitals);
        async move {
            // Its end is reported before the supervisor knows the member.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (_, other) = launch.stage("another".to_owned(), DEADLINE);
            Ok(vec![stage.ends(&Gone(other).start())])
        }
        .boxed_local()
    });
    fixture.supervisor.send(Supervise { name: "brief".to_owned(), exhausted: Exhausted::Park, start }).await.unwrap();
    fixture.until(SupervisionKind::Parked).await;
}

/// Ignores every order.
struct Gone(Vitals);
impl Actor for Gone {
    type Context = Context<Self>;
}
impl Supervised for Gone {
    fn vitals(&mut self) -> &mut Vitals {
        &mut self.0
    }
}
impl Handler<End> for Gone {
    type Result = ();
    fn handle(&mut self, _: End, _: &mut Self::Context) {}
}

#[actix::test]
async fn a_panic_in_a_factory_is_a_failure() {
    let mut fixture = Fixture::new(Exhausted::Park, &[]).await;
    fixture.next().await;
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let start: Start = Box::new(move |_| {
        assert!(counted.fetch_add(1, Relaxed) > 0, "the first start fails");
        async { panic!("and the others too") }.boxed_local()
    });
    fixture.supervisor.send(Supervise { name: "odd".to_owned(), exhausted: Exhausted::Park, start }).await.unwrap();
    fixture.until(SupervisionKind::Parked).await;
    assert_eq!(starts.load(Relaxed), 3);
}
