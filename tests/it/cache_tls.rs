//! Redis over TLS, and a Redis that belongs to a cluster. Each test has a server of its own, Valkey where the stack has it.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use analytics_service::cache::{CacheError, FreshnessCache};

use crate::harness::{World, certify, eventually, not_run, stack_variables};

/// A Redis that ends with the test.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// None where there is no Redis to be started.
    fn start(options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let number = port.to_string();
        let tls = options.contains(&"tls");
        let mut command = cache_server(folder.path())?;
        if tls {
            certify(folder.path());
            let path = |name: &str| folder.path().join(name).display().to_string();
            command.args(["--port", "0", "--tls-port", &number, "--tls-auth-clients", "no"]);
            command.args(["--tls-cert-file", &path("cert.pem"), "--tls-key-file", &path("key.pem")]);
            command.args(["--tls-ca-cert-file", &path("cert.pem")]);
        } else {
            command.args(["--port", &number]).args(options);
        }
        let child = command.args(["--bind", "127.0.0.1", "--save", ""]).stdout(Stdio::null()).spawn().ok()?;
        Some(Self { child, port, folder })
    }

    fn certificate(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// That of the packages that the stack runs, by their own loader; the machine's own where it runs in containers.
fn cache_server(folder: &Path) -> Option<Command> {
    let Some(packages) = stack_variables().remove("ANALYTICS_STACK_PACKAGES") else {
        let own = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let mut command = Command::new("redis-server");
        command.current_dir(folder);
        return own.is_ok_and(|status| status.success()).then_some(command);
    };
    let programs = Path::new(&packages).join("usr/bin");
    let server =
        ["redis-server", "valkey-server"].map(|name| programs.join(name)).into_iter().find(|it| it.exists())?;
    let libraries = Path::new(&packages).join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.current_dir(folder).arg("--library-path").arg(libraries).arg(server);
    Some(command)
}

#[tokio::test]
async fn markers_are_published_over_tls() {
    let Some(server) = Server::start(&["tls"]) else {
        return not_run("there is no redis-server here");
    };
    let mut world = World::new(1).await;
    world.set("ANALYTICS__CACHE__URL", &format!("rediss://127.0.0.1:{}", server.port));
    // What the system's store of certificates would say.
    world.set("SSL_CERT_FILE", &server.certificate());
    let service = world.serve().await;
    world.publish(&["--events", "50"]).await;
    eventually("the cache is up", async || {
        let readiness = service.readiness().await?.1;
        let components = readiness["components"].as_array()?;
        components.iter().any(|one| one["name"] == "cache" && one["state"] == "up").then_some(())
    })
    .await;
    assert_eq!(service.terminate().await, Some(0));
    // An untrusted certificate is refused.
    assert!(matches!(FreshnessCache::connect(&world.settings.cache).await, Err(CacheError::Redis(_))));
}

#[tokio::test]
async fn a_redis_cluster_is_refused_in_words() {
    let Some(server) = Server::start(&["--cluster-enabled", "yes"]) else {
        return not_run("there is no redis-server here");
    };
    let mut world = World::new(1).await;
    world.set("ANALYTICS__CACHE__URL", &format!("redis://127.0.0.1:{}", server.port));
    let refused =
        eventually("the server answers", async || match FreshnessCache::connect(&world.settings.cache).await {
            Err(CacheError::Redis(_)) => None,
            other => Some(other.err()),
        })
        .await;
    let refused = refused.map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("belongs to a Redis Cluster")), "{refused:?}");
}
