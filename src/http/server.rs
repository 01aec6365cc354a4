//! Listening: how many threads, how long a client may take, how large a request may be.

use std::{io, net::SocketAddr, time::Duration};

use actix_http::{HttpService, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    App, Error, HttpResponse,
    dev::{AppConfig, Extensions},
    web,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{
    API_PORT, Api, Application, OPERATIONS_PORT, Ops, api, ops,
    sockets::{ConnectionLimits, Connections, Deadlines, Guarded, KEEP_ALIVE, SWEEP_EVERY},
};
use crate::{
    config::{Http, Settings},
    http::client_address::TrustedProxies,
    telemetry::metrics::Metrics,
};

/// The table closes, and counts, connections whose time is over. The server's own timers, which count nothing and tick coarsely,
/// come after it.
const AFTER_THE_TABLE: Duration = Duration::from_secs(2);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;
/// What the kernel keeps of a response that is not taken: it would grow to megabytes for each slow reader.
const SEND_BUFFER: u32 = 128 << 10;

/// A port could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}")]
pub struct BindError {
    pub setting: &'static str,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A server that is bound. It serves once `server` is awaited or spawned; `server.handle().stop(true)` drains it.
pub struct Listening {
    pub server: Server,
    /// Where it listens: the port that was given out, where 0 was requested.
    pub addresses: Vec<SocketAddr>,
}

/// What the two ports differ in.
struct Port {
    name: &'static str,
    setting: &'static str,
    address: SocketAddr,
    workers: usize,
    limits: ConnectionLimits,
}

/// Binds the API. Signals are left to the application, which drains in an order of its own.
pub fn serve_api(settings: &Settings, state: Api) -> Result<Listening, BindError> {
    let Http { address, workers, .. } = settings.http;
    let limits =
        ConnectionLimits { all: settings.http.max_connections, of_address: settings.http.max_connections_per_address };
    let port = Port { name: API_PORT, setting: "http.address", address, workers, limits };
    let (metrics, state) = (state.metrics.clone(), web::Data::new(state));
    listen(&port, settings, metrics, move || api(state.clone()))
}

/// Binds the operations port: a thread and a table of connections of its own, so that neither a busy API nor its
/// clients make it look dead.
pub fn serve_ops(settings: &Settings, state: Ops) -> Result<Listening, BindError> {
    let limits =
        ConnectionLimits { all: settings.ops.max_connections, of_address: settings.ops.max_connections_per_address };
    let port =
        Port { name: OPERATIONS_PORT, setting: "ops.address", address: settings.ops.address, workers: 1, limits };
    listen(&port, settings, state.metrics.clone(), move || ops(state.clone()))
}

fn listen<A: Application + 'static>(
    port: &Port,
    settings: &Settings,
    metrics: Metrics,
    app: impl Fn() -> App<A> + Send + Clone + 'static,
) -> Result<Listening, BindError> {
    let refused = |source| BindError { setting: port.setting, address: port.address, source };
    let proxies = TrustedProxies::new(&settings.http.trusted_proxies());
    let deadlines = Deadlines {
        head: settings.http.head_timeout(),
        response: settings.http.response_timeout(),
        bytes_per_second: settings.http.response_bytes_per_second,
    };
    let connections = Connections::new(port.name, port.limits, deadlines, proxies, metrics);
    let listener = bind(port.address).and_then(TcpListener::into_std).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let server = Server::build();
    let (draining, table) = (server.graceful_shutdown_signal(), connections.clone());
    let service = move || {
        let (draining, table) = (draining.clone(), table.clone());
        let app = app().into_factory().map_err(|error: Error| -> HttpResponse { error.error_response() });
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(KEEP_ALIVE + AFTER_THE_TABLE)
            .client_request_timeout(deadlines.head + AFTER_THE_TABLE)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            // A client that closes its end is gone, and so is its query.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|io: &Guarded, data: &mut Extensions| {
                data.insert(io.connection());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let admitted = move |io: TcpStream| {
            let peer = io.peer_addr().ok();
            // Without room it is closed: no response could be sent.
            let guarded =
                Guarded::new(io, &table).ok_or_else(|| DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
            std::future::ready(guarded.map(|io| (io, actix_http::Protocol::Http1, peer)))
        };
        fn_service(admitted).and_then(http)
    };
    let server = server
        .workers(port.workers)
        // The table of connections has the limit, and makes room; the server would stop accepting.
        .max_concurrent_connections(usize::MAX >> 1)
        .shutdown_timeout(drain_seconds(settings))
        .disable_signals()
        .listen(port.name, listener, service)
        .map_err(refused)?
        .run();
    actix::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            connections.sweep();
        }
    });
    Ok(Listening { server, addresses: vec![address] })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections have it from here.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whole seconds, rounded up: the server knows no finer ones.
fn drain_seconds(settings: &Settings) -> u64 {
    settings.drain.step_timeout_ms.div_ceil(1000)
}
