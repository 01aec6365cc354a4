//! `healthcheck`: asks the operations port of a running service.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::config::Settings;

/// Ask the running service whether it is ready
///
/// Exits with 0 when it is (degraded counts, as it does for /readyz), with 1 when it is not or does not answer.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service healthcheck && echo ready")]
pub struct Args {
    /// Only whether the process lives
    #[arg(long)]
    live: bool,
}

const TIMEOUT: Duration = Duration::from_secs(3);
/// An answer of more partitions than a process can hold is still shorter.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let address = reachable(settings.ops.address);
    let path = if args.live { "/healthz" } else { "/readyz" };
    let answer = tokio::time::timeout(TIMEOUT, get(address, path)).await;
    let answer = answer.unwrap_or_else(|_| bail!("no answer within {} s", TIMEOUT.as_secs()));
    let (status, body) = answer.with_context(|| format!("http://{address}{path}"))?;
    println!("{}", body.trim_end());
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A service that listens on every interface is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Status and body of a GET. HTTP/1.0, so that the body ends where the connection does and has no framing.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer).await?;
    parse(&answer).context("the answer is not HTTP")
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read_from_an_answer() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((503, "{}".to_owned())));
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn a_wildcard_address_is_asked_on_the_loopback_interface() {
        for (bound, asked) in [("0.0.0.0:81", "127.0.0.1:81"), ("[::]:81", "[::1]:81"), ("10.0.0.1:81", "10.0.0.1:81")]
        {
            assert_eq!(reachable(bound.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
