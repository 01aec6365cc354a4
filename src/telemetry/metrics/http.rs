//! What the two ports and the queries behind them count.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, OfClosing, OfPort, OfRequest};

impl Metrics {
    /// `route` is a pattern of ours or `unknown`, `method` one of a fixed list: a caller cannot make new series.
    pub fn http_request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = OfRequest { route: route.to_owned(), method, status };
        self.http_requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A port that is about to be listened on: its series begin with 0.
    pub fn port(&self, port: &'static str) {
        self.connections(port, 0);
        for reason in ["head", "idle", "response", "closing", "room", "refused"] {
            drop(self.http_connections_closed.get_or_create(&OfClosing { port, reason }));
        }
    }

    pub fn connections(&self, port: &'static str, open: usize) {
        self.http_connections.get_or_create(&OfPort { port }).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// `reason` is head, idle, response or closing (its time was over), room (closed for a new one) or refused.
    pub fn connection_closed(&self, port: &'static str, reason: &'static str) {
        self.http_connections_closed.get_or_create(&OfClosing { port, reason }).inc();
    }

    pub fn response_bytes(&self, held: usize) {
        self.response_bytes.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// Counts a query permit as taken until the guard is dropped.
    pub fn query_permit(&self) -> PermitTaken {
        self.query_permits.inc();
        PermitTaken(self.query_permits.clone())
    }
}

#[derive(Debug)]
pub struct PermitTaken(Gauge);

impl Drop for PermitTaken {
    fn drop(&mut self) {
        self.0.dec();
    }
}
