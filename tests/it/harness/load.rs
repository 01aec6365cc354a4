//! Load: messages that are published beside a test, at the pace that the promises are made for, until it is stopped.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::PgConnection;

use super::{LedgerSums, World, assert_exact, eventually, scale, sent, settled};

/// Messages a second. The promises are made for 5,000.
pub const RATE: u32 = 6000;

/// Some of everything that a service has to put up with.
pub const FLAWS: [&str; 6] = ["--duplicates", "0.02", "--late", "0.01", "--invalid", "0.005"];

/// The command `publish` at work. It connects again by itself when the broker is away.
pub struct Load {
    child: Option<Child>,
    rate: u32,
}

impl Load {
    /// Starts publishing, and waits until the service has stored some of it.
    pub async fn start(world: &World, seed: &str) -> Self {
        Self::with(world, seed, &FLAWS).await
    }

    /// The same with flaws of one's own.
    pub async fn with(world: &World, seed: &str, flaws: &[&str]) -> Self {
        Self::at(world, RATE, seed, flaws).await
    }

    /// The same at a rate of one's own, in messages a second.
    pub async fn at(world: &World, rate: u32, seed: &str, flaws: &[&str]) -> Self {
        let load = Self::launch_at(world, rate, seed, flaws);
        let mut conn = world.connect().await;
        let received = LedgerSums::of_batches(&mut conn).await.received;
        eventually("what is published is stored", async || {
            (LedgerSums::of_batches(&mut conn).await.received > received).then_some(())
        })
        .await;
        load
    }

    /// Starts publishing.
    pub fn launch(world: &World, seed: &str, flaws: &[&str]) -> Self {
        Self::launch_at(world, RATE, seed, flaws)
    }

    fn launch_at(world: &World, rate: u32, seed: &str, flaws: &[&str]) -> Self {
        let per_second = rate.to_string();
        let args = ["publish", "--json", "--duration", "2h", "--rate", &per_second, "--orgs", "30", "--models", "5"];
        let mut command = world.command(&[&args[..], &["--seed", seed], flaws].concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child), rate }
    }

    /// Ends the publishing, and gives the report of what is in the stream.
    pub async fn stop(mut self) -> Value {
        let child = self.child.take().unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report
    }

    /// Ends the publishing, waits until all is stored, and holds the outcome against what was published.
    pub async fn exact(self, world: &World) -> Value {
        let least = u64::from(self.rate) * 5 / 6;
        let report = self.stop().await;
        let reached = report["messagesPerSecond"].as_u64().unwrap();
        eprintln!("published {} messages, {reached} a second", sent(&report));
        // Other work on the machine must not fail a short run; a larger one is made to show it.
        assert!(scale() == 1 || reached >= least, "{reached} messages a second are not the load");
        let mut conn = world.connect().await;
        settled(&mut conn, sent(&report)).await;
        assert_exact(&mut conn, &report).await;
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until so many more messages are stored, and says how long it took.
pub async fn more(conn: &mut PgConnection, messages: u32) -> Duration {
    let (since, before) = (Instant::now(), LedgerSums::of_batches(conn).await.received);
    let enough = before + i64::from(messages);
    eventually("storing goes on", async || (LedgerSums::of_batches(conn).await.received >= enough).then_some(())).await;
    since.elapsed()
}

/// Events of the start are sent again, with another time: the process that holds their partition now has to recognise them.
pub async fn resend(world: &World, conn: &mut PgConnection) -> i64 {
    let events: Vec<Value> = sqlx::query_scalar(
        "SELECT jsonb_build_object('eventId', event_id, 'orgId', org_id, 'modelId', model_id, 'status', status,
                'occurredAt', to_char((occurred_at - INTERVAL '1 minute') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                'latencyMs', latency_ms, 'inputTokens', input_tokens, 'outputTokens', output_tokens,
                'costEstimateCents', cost_cents)
         FROM analytics.usage_events ORDER BY batch_id LIMIT 2000",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    world.send(events.iter().map(|event| serde_json::to_vec(event).unwrap())).await;
    i64::try_from(events.len()).unwrap()
}

/// The ledger after a run with resends on top of what was published.
pub async fn exact_with_resends(conn: &mut PgConnection, report: &Value, resent: i64) {
    settled(conn, sent(report) + resent).await;
    let mut report = report.clone();
    report["resent"] = (report["resent"].as_i64().unwrap() + resent).into();
    assert_exact(conn, &report).await;
}

/// Lets a random time pass: the pace of a load, of faults, or of looks. What is waited for, [`eventually`] waits for.
pub async fn millis(range: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rand::random_range(range))).await;
}
