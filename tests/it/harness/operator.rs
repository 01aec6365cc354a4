//! What an operator sees of a service and does to it, on its operations port; and what a caller of the API sees meanwhile.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::PgConnection;

use super::{Service, World, bound, eventually};

/// Longest that an actor may be away after a failure or an order.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Something of the supervision log.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Happened {
    pub actor: String,
    pub what: String,
    pub cause: Option<String>,
    pub by_whom: Option<String>,
}

impl Service {
    /// Makes an actor fail: `panic`, `panic-in-future` or `hang`. Waits until it is there to do so.
    pub async fn drill(&self, actor: &str, kind: &str) {
        self.order(&format!("/ops/actors/{actor}/drill?kind={kind}")).await;
    }

    /// Restarts an actor. Waits until it is there.
    pub async fn restart(&self, actor: &str) {
        self.order(&format!("/ops/actors/{actor}/restart")).await;
    }

    async fn order(&self, path: &str) {
        let token = self.token(&[], &[Role::Operator]);
        eventually(&format!("{path} is accepted"), async || {
            let request = self.client.post(format!("http://{}{path}", self.ops)).bearer_auth(&token);
            let status = request.send().await.unwrap().status();
            // 404: the actor has not started. 503: the database is too busy to record it.
            let expected = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE];
            assert!(expected.contains(&status), "{path}: {status}");
            (status == StatusCode::ACCEPTED).then_some(())
        })
        .await;
    }

    pub async fn ops(&self, path: &str) -> Value {
        let answer = self.client.get(format!("http://{}{path}", self.ops)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// An actor right under the root, as the operations port shows it.
    pub async fn actor(&self, name: &str) -> Option<Value> {
        let tree = self.ops("/ops/actors").await;
        tree["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == name).cloned()
    }

    /// Waits until an actor is parked, and gives the cause.
    pub async fn parked(&self, name: &str) -> String {
        eventually(&format!("{name} is parked"), async || {
            let actor = self.actor(name).await?;
            (actor["state"] == "parked").then(|| actor["cause"].as_str().unwrap().to_owned())
        })
        .await
    }

    /// Parks partition 0, which has read something, as if its stream had been recreated: nobody can start it.
    pub async fn park_partition(&self, conn: &mut PgConnection) {
        sqlx::query("UPDATE analytics.partition_offsets SET last_message_hash = decode(repeat('00', 32), 'hex')")
            .execute(conn)
            .await
            .unwrap();
        self.restart("partition/0").await;
        self.parked("partition/0").await;
    }

    /// How often it was started.
    pub async fn generation(&self, name: &str) -> u64 {
        self.actor(name).await.unwrap()["generation"].as_u64().unwrap()
    }

    /// Waits until an actor runs that was started more often than that, and says how long it took.
    pub async fn runs_again(&self, name: &str, after: u64) -> Duration {
        let since = Instant::now();
        eventually(&format!("{name} runs again"), async || {
            let actor = self.actor(name).await?;
            (actor["generation"].as_u64()? > after && actor["state"] == "running").then_some(())
        })
        .await;
        assert!(since.elapsed() < bound(BACK_WITHIN), "{name} was away for {:?}", since.elapsed());
        since.elapsed()
    }
}

impl Happened {
    /// All of the supervision log, oldest first, once it is as long as the operations port says.
    pub async fn all(conn: &mut PgConnection) -> Vec<Self> {
        let rows = "SELECT actor, what, cause, by_whom FROM analytics.supervision_events ORDER BY event_id";
        sqlx::query_as(rows).fetch_all(conn).await.unwrap()
    }

    /// Nothing failed: what was away was waited for in place.
    pub async fn assert_nothing_failed(conn: &mut PgConnection) {
        let failed: Vec<Self> = Self::all(conn).await;
        let failed: Vec<_> = failed
            .iter()
            .filter(|one| !["started", "taken", "released", "stopped"].contains(&one.what.as_str()))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// Asks the API the same question again and again.
#[derive(Default)]
pub struct Asking {
    pub answered: Cell<u32>,
    pub refused: Cell<u32>,
}

impl Asking {
    /// Goes on until something else ends.
    ///
    /// # Panics
    /// An answer is neither 200 nor 503.
    pub async fn beside<T>(&self, world: &World, service: &Service, other: impl Future<Output = T>) -> T {
        let mut conn = world.connect().await;
        let org =
            sqlx::query_scalar("SELECT org_id FROM analytics.usage_events LIMIT 1").fetch_one(&mut conn).await.unwrap();
        let token = service.token(&[org], &[Role::OrgViewer]);
        let path = format!("/analytics/v1/orgs/{org}/freshness");
        let asking = async {
            loop {
                let (status, answer) = service.try_get(&path, &token).await;
                let count = match status {
                    StatusCode::OK => &self.answered,
                    StatusCode::SERVICE_UNAVAILABLE => &self.refused,
                    _ => panic!("{status}: {answer}"),
                };
                count.set(count.get() + 1);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            never = asking => never,
            done = other => done,
        }
    }
}
