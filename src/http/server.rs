//! Listening: how many threads, how long a client may take, how large a request may be.

use std::{io, net::SocketAddr, time::Duration};

use actix_web::{HttpServer, dev::Server, web};

use super::{Api, Ops, api, ops};
use crate::config::Settings;

/// Longest that a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a connection waits for its next request. Longer than the 60 seconds of common load balancers, so that
/// it is they who close it and no request falls between.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Open connections per worker; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 2048;

/// A port could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}")]
pub struct BindError {
    pub setting: &'static str,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A server that is bound. It answers once `server` is awaited or spawned; `server.handle().stop(true)` drains it.
pub struct Listening {
    pub server: Server,
    /// Where it listens: the port that was given out, where 0 was asked for.
    pub addresses: Vec<SocketAddr>,
}

/// Binds the API. Signals are left to the application, which drains in an order of its own.
pub fn serve_api(settings: &Settings, state: Api) -> Result<Listening, BindError> {
    let state = web::Data::new(state);
    let address = settings.http.address;
    let server = HttpServer::new(move || api(state.clone()))
        .workers(settings.http.workers)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        // An answer of more than one packet does not wait for the acknowledgement of its first, 40 ms.
        .tcp_nodelay(true)
        // A client that closes its end is gone, and so is its question.
        .h1_allow_half_closed(false)
        .shutdown_timeout(drain_seconds(settings))
        .disable_signals()
        .bind(address)
        .map_err(|source| BindError { setting: "http.address", address, source })?;
    let addresses = server.addrs();
    Ok(Listening { server: server.run(), addresses })
}

/// Binds the operations port: a thread of its own, so that a busy API does not look dead.
pub fn serve_ops(settings: &Settings, state: Ops) -> Result<Listening, BindError> {
    let address = settings.ops.address;
    let server = HttpServer::new(move || ops(state.clone()))
        .workers(1)
        .max_connections(256)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(drain_seconds(settings))
        .disable_signals()
        .bind(address)
        .map_err(|source| BindError { setting: "ops.address", address, source })?;
    let addresses = server.addrs();
    Ok(Listening { server: server.run(), addresses })
}

/// Whole seconds, rounded up: the server knows no finer ones.
fn drain_seconds(settings: &Settings) -> u64 {
    settings.drain.step_timeout_ms.div_ceil(1000)
}
