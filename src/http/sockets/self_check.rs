//! The process requests its own API port: readiness notices when clients would get no response either.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::telemetry::readiness::{API, Readiness, State};

/// Something small that needs neither a credential nor the database. [`IS_SELF_CHECK`] is what it looks like.
const REQUEST: &[u8] = b"HEAD /openapi.json HTTP/1.1\r\nHost: self\r\nConnection: close\r\n\r\n";
/// Route and method of the request.
pub const IS_SELF_CHECK: (&str, &str) = ("/openapi.json", "HEAD");
/// One may fail for a passing reason.
const FAILURES: u32 = 3;

/// Checks again and again, for as long as the process lives.
pub async fn check_self(address: SocketAddr, every: Duration, readiness: Readiness) {
    let address = reachable(address);
    let mut failures = 0;
    loop {
        let checked = timeout(every, check(address)).await;
        match checked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => {
                failures = 0;
                readiness.up(API);
            }
            Err(error) => {
                failures += 1;
                if failures == FAILURES {
                    tracing::warn!(%error, failures, "the API's port does not respond");
                }
                if failures >= FAILURES {
                    // Not degraded: no request would succeed here.
                    readiness.set(API, State::Unfit { cause: format!("its port does not respond: {error}") });
                }
            }
        }
        sleep(every).await;
    }
}

/// Where a port can be reached that listens on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn check(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if &status[..9] == b"HTTP/1.1 " && &status[9..] == b"200" {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&status).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::telemetry::readiness::{Phase, Status};

    async fn becomes(readiness: &Readiness, status: Status) {
        while readiness.snapshot().status != status {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_unresponsive_port_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let readiness = Readiness::default();
        readiness.set_phase(Phase::Serving);
        let address = listener.local_addr().unwrap();
        let checking = tokio::spawn(check_self(address, Duration::from_millis(20), readiness.clone()));
        // The kernel accepts; no thread reads.
        becomes(&readiness, Status::Unfit).await;
        let responding = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 256]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            }
        });
        becomes(&readiness, Status::Ready).await;
        checking.abort();
        responding.abort();
    }
}
