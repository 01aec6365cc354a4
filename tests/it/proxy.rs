//! The proxy by which faults are made does what it says, shown with a server that echoes.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::harness::{Proxy, bound, eventually};

/// Long enough for an echo, short enough to wait for one that does not come.
const A_WHILE: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_secs(10);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn proxy() -> Proxy {
    Proxy::start(echo_server().await)
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address).await.unwrap()
}

/// Whether a byte comes back.
async fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").await.is_ok() && matches!(timeout(SOON, stream.read(&mut [0])).await.unwrap(), Ok(1))
}

/// Whether nothing comes, not even an end.
async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(A_WHILE, stream.read(&mut [0])).await.is_err()
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let end = timeout(SOON, stream.read(&mut [0])).await.unwrap();
    end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn bytes_and_ends_pass_both_ways() {
    let proxy = proxy().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut from, mut to) = client(&proxy).await.into_split();
    let mut received = Vec::new();
    let writing = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(writing, from.read_to_end(&mut received));
    assert_eq!((read.unwrap(), received == sent), (sent.len(), true));
    eventually("the connection is gone", async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_cut_ends_connections_until_healed() {
    let proxy = proxy().await;
    let mut present = client(&proxy).await;
    assert!(echoes(&mut present).await);
    proxy.cut();
    assert!(is_reset(&mut present).await);
    // The reset may come while the connect is still under way.
    if let Ok(mut new) = TcpStream::connect(proxy.address).await {
        assert!(is_reset(&mut new).await);
    }
    eventually("no connection is left", async || (proxy.connections() == 0).then_some(())).await;
    proxy.heal();
    assert!(echoes(&mut client(&proxy).await).await);
}

#[tokio::test]
async fn a_drop_ends_the_present_alone() {
    let proxy = proxy().await;
    let mut present = client(&proxy).await;
    assert!(echoes(&mut present).await);
    proxy.drop_connections();
    assert!(echoes(&mut client(&proxy).await).await);
    assert!(is_reset(&mut present).await);
}

#[tokio::test]
async fn a_stall_delays_all_bytes() {
    let proxy = proxy().await;
    let mut old = client(&proxy).await;
    assert!(echoes(&mut old).await);
    proxy.stall();
    let mut new = client(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"a").await.unwrap();
        assert!(is_silent(stream).await);
    }
    proxy.heal();
    for stream in [&mut old, &mut new] {
        assert!(matches!(timeout(SOON, stream.read(&mut [0])).await.unwrap(), Ok(1)));
        assert!(echoes(stream).await);
    }
}

#[tokio::test]
async fn a_delay_keeps_the_throughput() {
    let proxy = proxy().await;
    let mut stream = client(&proxy).await;
    assert!(echoes(&mut stream).await);
    proxy.delay(Duration::from_millis(40));
    let asked = Instant::now();
    // Fewer bytes than sockets hold, in more reads than one.
    stream.write_all(&[7; 200_000]).await.unwrap();
    stream.read_exact(&mut [0; 200_000]).await.unwrap();
    let took = asked.elapsed();
    assert!((Duration::from_millis(80)..bound(Duration::from_secs(2))).contains(&took), "{took:?}");
}

#[tokio::test]
async fn swallowed_responses_never_come() {
    let proxy = proxy().await;
    let mut present = client(&proxy).await;
    assert!(echoes(&mut present).await);
    proxy.swallow_answers(20 * A_WHILE);
    present.write_all(b"x").await.unwrap();
    assert!(is_silent(&mut present).await);
    assert!(echoes(&mut client(&proxy).await).await);
    assert!(is_reset(&mut present).await);
}

#[tokio::test]
async fn healing_ends_connections_without_responses() {
    let proxy = proxy().await;
    let mut present = client(&proxy).await;
    assert!(echoes(&mut present).await);
    proxy.swallow_answers(SOON);
    proxy.heal();
    assert!(is_reset(&mut present).await);
}

#[tokio::test]
async fn a_chosen_response_is_lost() {
    let proxy = proxy().await;
    let mut stream = client(&proxy).await;
    proxy.lose_answers_to(b"COMMIT", 1);
    assert!(echoes(&mut stream).await);
    stream.write_all(b"now COMMIT").await.unwrap();
    assert!(is_reset(&mut stream).await);
    assert_eq!(proxy.lost_answers(), 1);
    let mut next = client(&proxy).await;
    next.write_all(b"COMMIT").await.unwrap();
    next.read_exact(&mut [0; 6]).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_dropped_leaves_nothing() {
    let proxy = proxy().await;
    let address = proxy.address;
    let mut stream = client(&proxy).await;
    assert!(echoes(&mut stream).await);
    drop(proxy);
    assert!(!echoes(&mut stream).await);
    assert!(TcpStream::connect(address).await.is_err());
}
