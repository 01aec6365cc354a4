//! What the two ports and the queries behind them count.

use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::{Closing, Metrics, Port, Scope, of};

impl Metrics {
    /// `route` is a pattern of ours or `unknown`, `method` one of a fixed list: a caller cannot make new series.
    pub fn http_request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = of::http_request_seconds { route: route.to_owned(), method, status };
        self.series.http_request_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A port that is about to be listened on: its series begin with 0.
    pub fn port(&self, port: &'static str) {
        self.connections(port, 0);
        self.series.begin(&Scope::Port(port));
        drop(self.traffic(port));
    }

    /// What the requests of a port are counted by.
    pub fn traffic(&self, port: &'static str) -> PortTraffic {
        let in_flight = of::http_requests_in_flight { port: Port(port) };
        let sent = of::http_sent_bytes { port: Port(port) };
        PortTraffic {
            in_flight: self.series.http_requests_in_flight.get_or_create_owned(&in_flight),
            sent_bytes: self.series.http_sent_bytes.get_or_create_owned(&sent),
        }
    }

    pub fn connections(&self, port: &'static str, open: usize) {
        let labels = of::http_connections { port: Port(port) };
        self.series.http_connections.get_or_create(&labels).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub fn connection_closed(&self, port: &'static str, reason: Closing) {
        self.series
            .http_connections_closed
            .get_or_create(&of::http_connections_closed { port: Port(port), reason })
            .inc();
    }

    pub fn response_bytes(&self, held: usize) {
        self.series.http_response_bytes.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// A query has waited so long for a permit, whether it got one or not.
    pub fn query_waited(&self, wait: Duration) {
        self.series.query_wait_seconds.observe(wait.as_secs_f64());
    }

    /// Counts a query permit as taken until the guard is dropped.
    pub fn query_permit(&self) -> PermitTaken {
        self.series.query_permits.inc();
        PermitTaken(self.series.query_permits.clone())
    }
}

#[derive(Debug)]
pub struct PermitTaken(Gauge);

impl Drop for PermitTaken {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts the requests of one port.
#[derive(Clone, Debug)]
pub struct PortTraffic {
    in_flight: Gauge,
    sent_bytes: Counter,
}

impl PortTraffic {
    /// Counts a request as in flight until the guard is dropped.
    pub fn request(&self) -> RequestInFlight {
        self.in_flight.inc();
        RequestInFlight(self.clone())
    }
}

/// A request until its response's body is sent, or given up.
#[derive(Debug)]
pub struct RequestInFlight(PortTraffic);

impl RequestInFlight {
    /// Bytes of the body that were sent.
    pub fn sent(&self, bytes: usize) {
        self.0.sent_bytes.inc_by(bytes as u64);
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
