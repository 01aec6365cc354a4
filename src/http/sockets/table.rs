//! The open connections of a port: how many there may be, whose, and which is closed for another.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Observed, Stage},
    deadlines::Deadlines,
};
use crate::{
    domain::client_network::client_network,
    http::client_address::TrustedProxies,
    telemetry::metrics::{Closing, Metrics},
};

/// How often connections are held against their deadlines.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// A client that takes its response, or sends its body, without a pause is not made room of.
const SLOW: Duration = Duration::from_secs(2);
/// How often a port says that it refuses connections.
const SAY_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub all: usize,
    /// Of one address, or of one /64 network of IPv6.
    pub of_address: usize,
}

/// Clones are the same table.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    /// The port's name, for metrics and logs.
    port: &'static str,
    limits: ConnectionLimits,
    deadlines: Deadlines,
    /// Their connections are those of many clients.
    proxies: TrustedProxies,
    metrics: Metrics,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By when they were opened.
    open: BTreeMap<u64, Arc<Connection>>,
    of_address: HashMap<IpAddr, usize>,
    refused: u64,
    said_at: Option<Instant>,
}

/// A connection's place in its table, until it is dropped.
pub struct Place {
    pub(super) connection: Arc<Connection>,
    id: u64,
    table: Connections,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
        self.table.count();
    }
}

impl Connections {
    pub fn new(
        port: &'static str,
        limits: ConnectionLimits,
        deadlines: Deadlines,
        proxies: TrustedProxies,
        metrics: Metrics,
    ) -> Self {
        let table = Mutex::default();
        metrics.port(port);
        Self(Arc::new(Inner { port, limits, deadlines, proxies, metrics, table }))
    }

    /// None where there is no room for one more.
    pub(super) fn place(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let shared = self.0.proxies.trusts(peer);
        let address = client_network(peer);
        let mut table = self.lock();
        let room = if !shared && table.of(address) >= self.0.limits.of_address {
            table.make_room(|connection| connection.address == address, |_| false)
        } else if table.open.len() >= self.0.limits.all {
            table.make_room(|_| true, |address| self.0.proxies.trusts(address))
        } else {
            Room::Free
        };
        match room {
            Room::Free => {}
            Room::Made => self.0.metrics.connection_closed(self.0.port, Closing::Room),
            Room::None => {
                self.refused(&mut table);
                return None;
            }
        }
        let connection = Arc::new(Connection::new(address));
        let id = table.insert(Arc::clone(&connection));
        drop(table);
        self.count();
        Some(Place { connection, id, table: self.clone() })
    }

    fn refused(&self, table: &mut Table) {
        self.0.metrics.connection_closed(self.0.port, Closing::Refused);
        table.refused += 1;
        if table.said_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let refused = std::mem::take(&mut table.refused);
            let (port, open) = (self.0.port, table.open.len());
            table.said_at = Some(Instant::now());
            tracing::warn!(port, open, refused, "connections are refused: every one that is open is at work");
        }
    }

    /// Closes the connections that are overdue.
    pub fn sweep(&self) {
        let mut table = self.lock();
        let overdue: Vec<(u64, Closing)> = table
            .open
            .iter()
            .filter_map(|(id, connection)| Some((*id, self.0.deadlines.overdue(connection.observe())?)))
            .collect();
        for (id, why) in overdue {
            if let Some(connection) = table.remove(id) {
                // Counted first, so that a closed connection is always counted.
                self.0.metrics.connection_closed(self.0.port, why);
                connection.close();
            }
        }
        drop(table);
        self.count();
    }

    fn count(&self) {
        let open = self.lock().open.len();
        self.0.metrics.connections(self.0.port, open);
    }

    // A panic while the lock was held leaves a whole table: every change is made at once.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Room {
    Free,
    Made,
    None,
}

impl Table {
    fn of(&self, address: IpAddr) -> usize {
        self.of_address.get(&address).copied().unwrap_or_default()
    }

    fn insert(&mut self, connection: Arc<Connection>) -> u64 {
        *self.of_address.entry(connection.address).or_default() += 1;
        self.next += 1;
        self.open.insert(self.next, connection);
        self.next
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.open.remove(&id)?;
        if let Some(of_address) = self.of_address.get_mut(&connection.address) {
            *of_address -= 1;
            if *of_address == 0 {
                self.of_address.remove(&connection.address);
            }
        }
        Some(connection)
    }

    /// Closes the connection that is needed least among these: one of the address that has most, but of shared addresses last; one
    /// that waits for a request before one whose response is slow; the one that does so longest.
    fn make_room(&mut self, among: impl Fn(&Connection) -> bool, shared: impl Fn(IpAddr) -> bool) -> Room {
        let candidates = self.open.iter().filter(|(_, connection)| among(connection));
        let least = candidates
            .filter_map(|(id, connection)| {
                let observed = connection.observe();
                let address = connection.address;
                let most = if shared(address) { 0 } else { self.of(address) };
                Some(((Reverse(most), need(observed)?, Reverse(observed.lasts)), *id))
            })
            .min();
        match least.and_then(|(_, id)| self.remove(id)) {
            Some(connection) => {
                connection.close();
                Room::Made
            }
            None => Room::None,
        }
    }
}

/// How much a connection is needed; none where it may not be closed for another.
fn need(Observed { stage, lasts, .. }: Observed) -> Option<u8> {
    match stage {
        Stage::Closing => Some(0),
        Stage::Idle => Some(1),
        Stage::Head => Some(2),
        Stage::Body | Stage::Responding | Stage::Flushing => (lasts > SLOW).then_some(3),
        Stage::Handling => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ConnectionLimits = ConnectionLimits { all: 10, of_address: 4 };

    fn table(limits: ConnectionLimits, proxies: &[&str]) -> Connections {
        let proxies: Vec<_> = proxies.iter().map(|text| text.parse().unwrap()).collect();
        let deadlines = Deadlines { head: Duration::ZERO, response: Duration::from_secs(1), bytes_per_second: 1 };
        Connections::new("test", limits, deadlines, TrustedProxies::new(&proxies), Metrics::default())
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_open(place: &Place) -> bool {
        place.table.lock().open.contains_key(&place.id)
    }

    #[test]
    fn an_address_has_its_own_oldest_connection_closed() {
        let table = table(ALL, &[]);
        let mine: Vec<Place> = (0..4).map(|_| table.place(address(1)).unwrap()).collect();
        let other = table.place(address(2)).unwrap();
        let new = table.place(address(1)).unwrap();
        let open: Vec<bool> = mine.iter().map(is_open).collect();
        assert_eq!(open, [false, true, true, true]);
        assert!(is_open(&other) && is_open(&new));
        drop((mine, other, new));
        assert!(table.lock().open.is_empty() && table.lock().of_address.is_empty());
    }

    #[test]
    fn a_full_port_closes_the_largest_holder() {
        let table = table(ALL, &[]);
        let few = table.place(address(1)).unwrap();
        let many: Vec<Place> = (0..9).map(|n| table.place(address(2 + n / 3)).unwrap()).collect();
        let new = table.place(address(9)).unwrap();
        assert!(is_open(&few) && is_open(&new));
        assert_eq!(many.iter().filter(|place| !is_open(place)).count(), 1);
    }

    #[test]
    fn handled_connections_are_never_closed() {
        let table = table(ConnectionLimits { all: 2, of_address: 2 }, &[]);
        let (one, two) = (table.place(address(1)).unwrap(), table.place(address(1)).unwrap());
        one.connection.begin_request();
        let three = table.place(address(1)).unwrap();
        assert!(is_open(&one) && !is_open(&two) && is_open(&three));
        three.connection.begin_request();
        assert!(table.place(address(1)).is_none() && table.place(address(2)).is_none());
        one.connection.begin_response(false);
        one.connection.end_response();
        assert!(table.place(address(2)).is_none(), "a response is given a moment to be taken");
    }

    #[test]
    fn trusted_proxies_are_not_limited_by_address() {
        let table = table(ALL, &["10.0.0.1/32"]);
        let proxied: Vec<Place> = (0..8).map(|_| table.place(address(1)).unwrap()).collect();
        let others = [table.place(address(2)).unwrap(), table.place(address(3)).unwrap()];
        let new = table.place(address(2)).unwrap();
        assert!(proxied.iter().all(is_open) && is_open(&new));
        assert_eq!(others.iter().filter(|place| is_open(place)).count(), 1);
    }

    #[test]
    fn a_sweep_closes_what_is_overdue() {
        let table = table(ALL, &[]);
        let (silent, working) = (table.place(address(1)).unwrap(), table.place(address(1)).unwrap());
        working.connection.begin_request();
        // Until the silent one is overdue.
        std::thread::sleep(Duration::from_millis(5));
        table.sweep();
        assert!(!is_open(&silent) && is_open(&working));
    }
}
