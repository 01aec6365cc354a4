//! What clients see of switches: responses over HTTP, requested ten times a second under load, while commands and the service are
//! killed. No number goes down, and no final one changes without a revision.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use chrono::{TimeDelta, Utc};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::MissedTickBehavior};
use uuid::Uuid;

use super::{
    CONTINUOUS, LIVE, begin_continuous, event, is_community,
    points::{Amounts, Change, Explained, Place, Revision, Series, place},
    switch,
};
use crate::harness::{Load, Service, World, eventually, millis, scale, sent, settled};

/// Messages a second.
const RATE: u32 = 3000;
const FLAWS: [&str; 4] = ["--late", "0.02", "--duplicates", "0.01"];
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Days that the org of the test's own has events of.
const DAYS: i64 = 20;
const SWITCH_LIVE: &[&str] = &["rollups", "switch", "--to", LIVE];
const SWITCH_CONTINUOUS: &[&str] = &["rollups", "switch", "--to", CONTINUOUS];
const REFRESH: &[&str] = &["refresh", "--late"];

/// Where the service is at the moment, and a token for it.
#[derive(Clone)]
struct Target {
    api: SocketAddr,
    token: String,
}

impl Target {
    fn of(service: &Service, orgs: &[Uuid]) -> Self {
        Self { api: service.api, token: service.token(orgs, &[Role::Finance, Role::SystemAdmin]) }
    }
}

/// How far the polling is.
#[derive(Default)]
struct Progress {
    responses: AtomicU64,
    unanswered: AtomicU64,
    /// Responses with more events than the one before.
    grown: AtomicU64,
    /// Changes of final points, each of them explained.
    explained: AtomicU64,
}

struct Poller {
    client: reqwest::Client,
    target: watch::Receiver<Target>,
    orgs: Vec<Uuid>,
    /// A date.
    start: String,
    hours: BTreeMap<Uuid, Series>,
    days: BTreeMap<Uuid, Series>,
    summary: BTreeMap<Uuid, Amounts>,
    totals: Amounts,
    unexplained: BTreeMap<Uuid, Vec<Change>>,
    progress: Arc<Progress>,
}

impl Poller {
    /// None while there is no response: the service or its connections are gone.
    async fn get(&self, path: &str) -> Option<Value> {
        let Target { api, token } = self.target.borrow().clone();
        let response = async {
            let response = self.client.get(format!("http://{api}{path}")).bearer_auth(token).send().await.ok()?;
            let (status, text) = (response.status(), response.text().await.ok()?);
            assert!(status == 200 || status.is_server_error(), "{path}: {status} {text}");
            (status == 200).then(|| serde_json::from_str(&text).unwrap())
        };
        let response = response.await;
        let count = if response.is_some() { &self.progress.responses } else { &self.progress.unanswered };
        count.fetch_add(1, Relaxed);
        response
    }

    /// Requests everything of one org, and the summary. Whether all had a response and is explained.
    async fn poll(&mut self, org: Uuid) -> bool {
        let start = &self.start;
        let usage = |by| format!("/analytics/v1/orgs/{org}/usage?granularity={by}&groupBy=model&start={start}");
        let (hours, days) = (usage("hour"), usage("day"));
        let summary = format!("/analytics/v1/summary?start={start}&limit=1000");
        let (hours, days, summary) = tokio::join!(self.get(&hours), self.get(&days), self.get(&summary));
        let answered = hours.is_some() && days.is_some() && summary.is_some();
        let unexplained = self.unexplained.entry(org).or_default();
        if let Some(hours) = hours {
            note(unexplained, self.hours.entry(org).or_default().take(&hours, TimeDelta::hours(1)));
        }
        if let Some(days) = days {
            note(unexplained, self.days.entry(org).or_default().take(&days, TimeDelta::days(1)));
        }
        if let Some(summary) = summary {
            self.take_summary(&summary);
        }
        if self.unexplained[&org].is_empty() {
            return answered;
        }
        let Some(revisions) = self.revisions(org).await else { return false };
        let mut open = Vec::new();
        for change in self.unexplained.remove(&org).unwrap() {
            match change.explained(&revisions) {
                Explained::Wholly => _ = self.progress.explained.fetch_add(1, Relaxed),
                Explained::ByNewer => open.push(change),
                Explained::Not => panic!("no revision of {org} explains {change:?}: {revisions:?}"),
            }
        }
        let explained = open.is_empty();
        self.unexplained.insert(org, open);
        answered && explained
    }

    fn take_summary(&mut self, response: &Value) {
        let mut next = BTreeMap::new();
        for org in response["orgs"].as_array().unwrap() {
            let (id, after): (Uuid, _) = (org["orgId"].as_str().unwrap().parse().unwrap(), Amounts::of(org));
            let before = self.summary.get(&id).copied().unwrap_or_default();
            assert!(before.within(&after), "the summary's {id} went down from {before:?} to {after:?}");
            next.insert(id, after);
        }
        assert!(self.summary.keys().all(|id| next.contains_key(id)), "an org is gone from {response}");
        let totals = Amounts::of(&response["totals"]);
        assert!(self.totals.within(&totals), "the totals went down from {:?} to {totals:?}", self.totals);
        if totals.invocations > self.totals.invocations {
            self.progress.grown.fetch_add(1, Relaxed);
        }
        (self.summary, self.totals) = (next, totals);
    }

    /// All of an org's.
    async fn revisions(&self, org: Uuid) -> Option<Vec<Revision>> {
        let mut revisions = Vec::new();
        let first = format!("/analytics/v1/orgs/{org}/revisions?start={}&limit=1000", self.start);
        let mut page = self.get(&first).await?;
        loop {
            revisions.extend(page["revisions"].as_array().unwrap().iter().map(|revision| Revision {
                place: place(revision),
                revised_at: revision["revisedAt"].as_str().unwrap().parse().unwrap(),
                before: Amounts::of(&revision["before"]),
                after: Amounts::of(&revision["after"]),
            }));
            let Some(cursor) = page["nextCursor"].as_str() else { return Some(revisions) };
            page = self.get(&format!("{first}&cursor={cursor}")).await?;
        }
    }

    /// Holds the last responses against the revisions: one after the other, each begins with what the one before it ended with,
    /// and the last one ends with what is answered.
    async fn finish(mut self) {
        for org in self.orgs.clone() {
            eventually("all of an org is answered and explained", async || self.poll(org).await.then_some(())).await;
            let mut revisions = eventually("its revisions are", async || self.revisions(org).await).await;
            revisions.sort_by_key(|revision| (revision.place, revision.revised_at));
            for pair in revisions.windows(2).filter(|pair| pair[0].place == pair[1].place) {
                assert_eq!(pair[0].after, pair[1].before, "{org} {pair:?}");
            }
            let last: BTreeMap<Place, &Revision> = revisions.iter().map(|r| (r.place, r)).collect();
            for (place, revision) in last {
                assert_eq!(self.hours[&org].points[&place], revision.after, "{org} {revision:?}");
            }
        }
    }
}

/// Adds changes to those that are not explained yet. Two of one point are one.
fn note(unexplained: &mut Vec<Change>, changes: Vec<Change>) {
    for change in changes {
        match unexplained.iter_mut().find(|open| (open.place, open.length) == (change.place, change.length)) {
            Some(open) => open.after = change.after,
            None => unexplained.push(change),
        }
    }
}

/// A poller at work, and the service that it asks, which is killed and restarted.
struct Scene {
    world: World,
    service: Service,
    target: watch::Sender<Target>,
    stop: watch::Sender<bool>,
    polling: JoinHandle<Poller>,
    progress: Arc<Progress>,
    /// An org that nobody else publishes for. Its events lie far apart.
    own: Uuid,
    orgs: Vec<Uuid>,
    sent: i64,
    kills: u32,
}

impl Scene {
    async fn start(world: World, service: Service, own: Uuid, sent: i64) -> Self {
        // The largest that the load has, and the own one.
        let orgs: Vec<Uuid> = sqlx::query_scalar(
            "SELECT org_id FROM analytics.daily_usage WHERE org_id <> $1
             GROUP BY org_id ORDER BY sum(successes) DESC, org_id LIMIT 2",
        )
        .bind(own)
        .fetch_all(&mut world.connect().await)
        .await
        .unwrap();
        let orgs = [&orgs[..], &[own]].concat();
        let (target, asked) = watch::channel(Target::of(&service, &orgs));
        let (stop, stopped) = watch::channel(false);
        let progress = Arc::new(Progress::default());
        let mut poller = Poller {
            client: reqwest::Client::new(),
            target: asked,
            orgs: orgs.clone(),
            start: (Utc::now() - TimeDelta::days(DAYS + 1)).date_naive().to_string(),
            hours: BTreeMap::new(),
            days: BTreeMap::new(),
            summary: BTreeMap::new(),
            totals: Amounts::default(),
            unexplained: BTreeMap::new(),
            progress: progress.clone(),
        };
        let polling = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(POLL_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for org in poller.orgs.clone().into_iter().cycle() {
                if *stopped.borrow() {
                    break;
                }
                ticks.tick().await;
                poller.poll(org).await;
            }
            poller
        });
        Self { world, service, target, stop, polling, progress, own, orgs, sent, kills: 0 }
    }

    /// Sends events of the own org's past.
    async fn send_late(&mut self, events: i64) {
        self.world.send((0..events).map(|_| late_event(self.own))).await;
        self.sent += events;
    }

    /// Kills the service and starts it again.
    fn restart(&mut self) {
        let service = std::mem::replace(&mut self.service, Service::launch(&self.world));
        self.target.send_replace(Target::of(&self.service, &self.orgs));
        service.kill();
        self.kills += 1;
    }

    /// Kills a command somewhere, and the service beside it.
    async fn kill(&mut self, args: &[&str], service_too: bool) {
        let mut child = self.world.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        millis(20..500).await;
        if service_too {
            self.restart();
            millis(0..300).await;
        }
        let _ = child.kill();
        child.wait().unwrap();
        self.kills += 1;
    }

    /// Waits until there are responses with what was published meanwhile.
    async fn grown(&self) {
        let before = self.progress.grown.load(Relaxed);
        eventually("responses grow", async || {
            assert!(!self.polling.is_finished(), "the poller has said why");
            (self.progress.grown.load(Relaxed) > before).then_some(())
        })
        .await;
    }
}

/// An event of the last twenty days, and long ago enough to be late.
fn late_event(org: Uuid) -> Vec<u8> {
    event(org, Utc::now() - TimeDelta::minutes(rand::random_range(3 * 60..DAYS * 24 * 60)))
}

#[tokio::test]
async fn responses_stay_true_while_switches_are_killed() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let topology = world.settings.broker.topology();
    // Where the tests' own messages go.
    let own = (1..).map(Uuid::from_u128).find(|org| topology.home_of(*org) == 0).unwrap();
    world.send((0..1000).map(|_| late_event(own))).await;
    settled(&mut world.connect().await, 1000).await;
    let load = Load::at(&world, RATE, "29", &FLAWS).await;
    let community = is_community(&mut world.connect().await).await;
    let mut scene = Scene::start(world, service, own, 1000).await;
    scene.grown().await;
    let started = Instant::now();
    for engine in [CONTINUOUS, LIVE].repeat(usize::try_from(scale()).unwrap()) {
        let switches = if engine == LIVE { SWITCH_LIVE } else { SWITCH_CONTINUOUS };
        let stands_in = engine == CONTINUOUS && !community;
        if stands_in {
            begin_continuous(&scene.world).await;
        }
        for (n, args) in [switches, REFRESH, switches, REFRESH].into_iter().enumerate() {
            scene.send_late(20).await;
            // The edition without continuous aggregates has no switch to them: the refresh moves the cut.
            let service_too = n % 2 == 0;
            scene.kill(if stands_in { REFRESH } else { args }, service_too).await;
            if service_too {
                scene.grown().await;
            }
        }
        if stands_in {
            scene.world.report(REFRESH).await;
        } else {
            switch(&scene.world, engine).await;
        }
        scene.grown().await;
        let report = scene.world.report(&["verify"]).await;
        assert_eq!(report["holds"], true, "{engine} after {} kills: {report}", scene.kills);
    }
    let took = started.elapsed();
    let report = load.stop().await;
    let mut conn = scene.world.connect().await;
    settled(&mut conn, sent(&report) + scene.sent).await;
    scene.stop.send_replace(true);
    scene.polling.await.unwrap().finish().await;
    let Progress { responses, unanswered, explained, .. } = &*scene.progress;
    let [responses, unanswered, explained] = [responses, unanswered, explained].map(|count| count.load(Relaxed));
    eprintln!(
        "{} kills in {took:.0?} at {} messages a second: {responses} responses, {unanswered} requests without, {explained} changes of \
         final points explained",
        scene.kills, report["messagesPerSecond"]
    );
    assert!(explained > 0, "final points have changed");
    assert_eq!(scene.service.terminate().await, Some(0));
}
