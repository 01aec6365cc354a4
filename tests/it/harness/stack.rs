//! The servers themselves, which worlds share, and whose turn it is to stop one.

use std::{
    any::Any,
    path::Path,
    process::Command,
    sync::{Arc, LazyLock},
};

use tokio::sync::RwLock;

/// Worlds hold it for reading; who stops a server holds it for writing. It is fair: nobody waits for ever.
static SERVERS: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// The right to use the servers, until it is dropped.
pub type Turn = Box<dyn Any + Send + Sync>;

/// Waits until nobody has the servers for itself.
pub async fn beside_others() -> Turn {
    Box::new(Arc::clone(&SERVERS).read_owned().await)
}

/// Waits until nobody uses the servers, and lets nobody else use them.
pub async fn alone() -> Turn {
    Box::new(Arc::clone(&SERVERS).write_owned().await)
}

/// Runs `deploy/local/stack`.
///
/// # Panics
/// With the script's output when it fails.
pub fn stack(args: &[&str]) -> String {
    match run(args) {
        Ok(output) => output,
        Err(problem) => panic!("{problem}"),
    }
}

/// The same; what went wrong is an error.
pub fn run(args: &[&str]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/stack");
    let output = Command::new(script).args(args).output().map_err(|error| format!("stack {args:?}: {error}"))?;
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(format!("stack {args:?}: {}\n{text}", output.status)) }
}

/// A server that is stopped: rabbitmq, postgres or redis. Dropping it starts the server again, so that a test that
/// fails leaves the stack up. Only for who holds [`World::exclusive`](super::World::exclusive).
pub struct Stopped(&'static str);

impl Stopped {
    pub async fn server(name: &'static str) -> Self {
        tokio::task::spawn_blocking(move || stack(&["stop", name])).await.unwrap();
        Self(name)
    }

    /// Starts the server again and waits until it answers.
    pub async fn start(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.unwrap();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        match run(&["start", self.0]) {
            Err(problem) if std::thread::panicking() => eprintln!("{problem}"),
            started => drop(started.unwrap()),
        }
    }
}
