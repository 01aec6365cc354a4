//! The orderly end: it is announced, then the API stops, then the children of the root are drained, from the last that was started
//! to the first.

use std::time::Duration;

use actix::Addr;
use tokio::time::{sleep, timeout};

use crate::{
    actors::supervision::{
        orders::{Retire, StopMode},
        supervisor::Supervisor,
    },
    config,
};

/// For so long the process works on as before, while readiness says that it drains. Then each step has its deadline, and so has
/// the whole; `at_once` ends it before. Killing the process at any point is as safe.
pub async fn drain(
    settings: config::Drain,
    api_stops: impl Future<Output = ()>,
    supervisor: &Addr<Supervisor>,
    started: &[String],
    at_once: impl Future<Output = ()>,
) {
    let announce = settings.announce();
    tracing::info!(api_closes_in = ?announce, "draining; a second signal ends at once");
    let step = settings.step_timeout();
    let steps = async {
        within("API", step, api_stops).await;
        for name in started.iter().rev() {
            within(name, step, retire(supervisor, name)).await;
        }
    };
    let whole = async {
        sleep(announce).await;
        timeout(settings.timeout(), steps).await
    };
    tokio::select! {
        drained = whole => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("ended before everything was drained: drain.timeout_ms is over"),
        },
        () = at_once => tracing::warn!("ended before everything was drained"),
    }
}

async fn within(what: &str, step: Duration, work: impl Future<Output = ()>) {
    if timeout(step, work).await.is_err() {
        tracing::warn!(what, ?step, "did not end in time");
    }
}

async fn retire(supervisor: &Addr<Supervisor>, name: &str) {
    // Closed: the supervisor is gone, and with it what it looked after.
    let _ = supervisor.send(Retire { name: name.to_owned(), mode: StopMode::Drain }).await;
}
