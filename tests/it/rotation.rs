//! The secrets of a running installation are replaced, and its processes one after another. The commands are those of docs/backup.md.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    time::Duration,
};

use analytics_service::auth::Role;
use reqwest::{StatusCode, header::RETRY_AFTER};
use uuid::Uuid;

use crate::harness::{
    FLAWS, Happened, Load, Place, Service, Totals, World, assert_exact, commands, more, sent, settled, stack,
};

const DATABASE: &str = "The database's password";
const BROKER: &str = "The broker's user";
const REDIS: &str = "Redis's password";

/// Messages a second.
const RATE: u32 = 1000;
const SECRETS: [&str; 2] = ["an-old-secret-of-the-tests-32-bytes-long", "a-new-secret-of-the-tests-32-bytes-long"];

/// Logins of this test alone, on servers that others use too.
struct Logins {
    place: Place,
    /// Of a role, a user of Redis and the old user of the broker. The new one is that of the stack: a login takes seconds to create.
    name: String,
}

impl Logins {
    async fn new(world: &World) -> Self {
        let logins = Self { place: Place::new(), name: world.database().to_owned() };
        logins.run(world, "psql -qX -c \"CREATE ROLE $ROLE LOGIN PASSWORD '$PASSWORD'\" dbname=postgres", 0).await;
        logins.run(world, &commands(BROKER, 1), 0).await;
        logins.run(world, "redis-cli $CACHE ACL SETUSER \"$CACHE_USER\" on \">$PASSWORD\" '~*' '+@all'", 0).await;
        logins
    }

    /// Carries commands out for the old ones (0) or the new ones (1).
    async fn run(&self, world: &World, commands: &str, which: usize) {
        // In a container the server has its usual port.
        let cache = match stack(&["status"]).contains("way: debian") {
            true => format!("-p {}", place_of(&world.variables["ANALYTICS__CACHE__URL"]).rsplit_once(':').unwrap().1),
            false => String::new(),
        };
        let variables = [
            ("SERVER", "dbname=postgres"),
            ("ROLE", &self.name),
            ("PASSWORD", SECRETS[which]),
            ("OLD_PASSWORD", SECRETS[0]),
            ("OLD_USER", &self.name),
            ("NEW_USER", &self.name),
            ("CACHE", &cache),
            ("CACHE_USER", &self.name),
        ];
        self.place.carry_out(world, commands, &variables).await;
    }

    /// What the service is started with to use them.
    fn routes(&self, world: &World, which: usize) -> [(String, String); 3] {
        ["DATABASE", "BROKER", "CACHE"].map(|server| {
            let key = format!("ANALYTICS__{server}__URL");
            let url = &world.variables[&key];
            if server == "BROKER" && which == 1 {
                return (key, url.clone());
            }
            let (scheme, _) = url.split_once("://").unwrap();
            let (_, place) = url.rsplit_once('@').unwrap();
            let url = format!("{scheme}://{}:{}@{place}", self.name, SECRETS[which]);
            (key, url)
        })
    }

    async fn remove(&self, world: &World) {
        let commands = "
            psql -qX -c \"DROP OWNED BY $ROLE\" \"dbname=$ROLE\"
            psql -qX -c \"DROP ROLE $ROLE\" dbname=postgres
            redis-cli $CACHE ACL DELUSER \"$CACHE_USER\"";
        self.run(world, commands, 1).await;
    }
}

fn place_of(url: &str) -> &str {
    let (_, place) = url.rsplit_once('@').unwrap();
    place.split_once('/').unwrap().0
}

/// Callers behind a balancer that knows these processes: a request whose connection is refused or closed goes to the next.
struct Callers {
    processes: RefCell<Vec<SocketAddr>>,
    org: Uuid,
    token: RefCell<String>,
    answered: Cell<u32>,
    refused: Cell<u32>,
    passed_on: Cell<u32>,
}

impl Callers {
    fn new(processes: &[&Service], org: Uuid, token: &str) -> Self {
        Self {
            processes: RefCell::new(processes.iter().map(|process| process.api).collect()),
            org,
            token: RefCell::new(token.to_owned()),
            answered: Cell::new(0),
            refused: Cell::new(0),
            passed_on: Cell::new(0),
        }
    }

    /// Sends requests while something else is done.
    ///
    /// # Panics
    /// A response is neither 200 nor 503 with `Retry-After`, or no process takes a request.
    async fn beside<T>(&self, other: impl Future<Output = T>) -> T {
        let sending = async {
            loop {
                self.send().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            never = sending => never,
            done = other => done,
        }
    }

    async fn send(&self) {
        let client = reqwest::Client::new();
        let processes = self.processes.borrow().clone();
        for process in &processes {
            let url = format!("http://{process}/analytics/v1/orgs/{}/freshness", self.org);
            let token = self.token.borrow().clone();
            let Ok(response) = client.get(url).bearer_auth(token).send().await else {
                self.passed_on.set(self.passed_on.get() + 1);
                continue;
            };
            let count = match response.status() {
                StatusCode::OK => &self.answered,
                StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(RETRY_AFTER) => &self.refused,
                status => panic!("{status}: {:?}", response.text().await),
            };
            count.set(count.get() + 1);
            // Every one has its turn.
            self.processes.borrow_mut().rotate_left(1.min(processes.len() - 1));
            return;
        }
        panic!("none of {processes:?} takes a request");
    }

    /// A process is replaced by one with other settings: it joins, and the old one ends.
    async fn replace(&self, old: Service, world: &World) -> Service {
        let new = world.serve().await;
        self.processes.borrow_mut().push(new.api);
        let gone = old.api;
        assert_eq!(old.terminate().await, Some(0));
        self.processes.borrow_mut().retain(|process| *process != gone);
        new
    }
}

#[tokio::test]
async fn secrets_are_replaced_process_by_process() {
    let mut world = World::new(2).await;
    world.set("ANALYTICS__AUTH__HS256_SECRET", SECRETS[0]);
    let mut conn = world.connect().await;
    let logins = Logins::new(&world).await;
    world.routes.extend(logins.routes(&world, 0));
    let mut migrate = world.command(&["migrate"]);
    migrate.envs(&world.routes);
    assert!(tokio::task::spawn_blocking(move || migrate.status()).await.unwrap().unwrap().success());
    let (first, second) = (world.serve().await, world.serve().await);
    let load = Load::at(&world, RATE, "81", &FLAWS).await;
    more(&mut conn, RATE).await;
    let org = *Totals::raw(&mut conn).await.keys().next().unwrap();
    let old_token = first.token(&[org], &[Role::OrgViewer]);
    let callers = Callers::new(&[&first, &second], org, &old_token);
    let (third, fourth) = callers
        .beside(async {
            for heading in [DATABASE, REDIS] {
                logins.run(&world, &commands(heading, 1), 1).await;
            }
            world.routes.extend(logins.routes(&world, 1));
            world.set("ANALYTICS__AUTH__HS256_SECRET", SECRETS[1]);
            world.set("ANALYTICS__AUTH__HS256_PREVIOUS_SECRET", SECRETS[0]);
            let third = callers.replace(first, &world).await;
            let fourth = callers.replace(second, &world).await;
            for heading in [BROKER, REDIS] {
                logins.run(&world, &commands(heading, 2), 1).await;
            }
            more(&mut conn, RATE).await;
            (third, fourth)
        })
        .await;
    // Nothing is signed with the old one any more, and its tokens have expired: it is removed.
    let path = format!("/analytics/v1/orgs/{org}/freshness");
    let new_token = third.token(&[org], &[Role::OrgViewer]);
    for token in [&old_token, &new_token] {
        assert_eq!(third.get(&path, token).await.0, StatusCode::OK);
    }
    world.set("ANALYTICS__AUTH__HS256_PREVIOUS_SECRET", "");
    callers.token.replace(new_token.clone());
    let third = callers.beside(callers.replace(third, &world)).await;
    assert_eq!(third.get(&path, &old_token).await.0, StatusCode::UNAUTHORIZED);
    let report = load.stop().await;
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
    Happened::assert_nothing_failed(&mut conn).await;
    let [answered, refused, passed_on] = [&callers.answered, &callers.refused, &callers.passed_on].map(Cell::get);
    eprintln!(
        "{answered} requests answered, {refused} refused with Retry-After, {passed_on} passed on to another process"
    );
    assert!(answered > refused, "{answered} {refused}");
    for service in [third, fourth] {
        assert_eq!(service.terminate().await, Some(0));
    }
    logins.remove(&world).await;
}
