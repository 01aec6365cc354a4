//! Redis: freshness markers for dashboards that poll. A convenience, never the truth: all of it is in PostgreSQL.

use std::time::Duration;

use redis::{
    Client, ErrorKind, InfoDict, RedisError, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use uuid::Uuid;

use crate::{config::Cache, domain::query::ModelFreshness};

/// Longest that Redis may take to respond.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that are sent at once.
const PIPELINE: usize = 500;

/// Never holds the URL, which may have a password.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cache: {0}")]
    Redis(#[source] RedisError),
    /// Its keys are on several servers, and this is a client of one.
    #[error("cache: the server belongs to a Redis Cluster, and cache.url must lead to a Redis that is none")]
    Cluster,
}

impl CacheError {
    /// Whether the connection is gone with it.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_io_error() || error.is_connection_dropped() || error.is_timeout())
    }
}

impl From<RedisError> for CacheError {
    fn from(error: RedisError) -> Self {
        use ServerErrorKind::{Ask, ClusterDown, CrossSlot, Moved};
        match error.kind() {
            ErrorKind::Server(Moved | Ask | ClusterDown | CrossSlot) => Self::Cluster,
            _ => Self::Redis(error),
        }
    }
}

pub struct FreshnessCache {
    manager: ConnectionManager,
    ttl_seconds: i64,
}

impl FreshnessCache {
    pub async fn connect(settings: &Cache) -> Result<Self, CacheError> {
        let client = Client::open(settings.url.expose())?;
        // It connects again by itself; a publication that finds no connection fails at once and is made again later.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let mut manager = ConnectionManager::new_with_config(client, config).await?;
        refuse_cluster(&mut manager).await?;
        Ok(Self { manager, ttl_seconds: i64::try_from(settings.ttl_seconds).unwrap_or(i64::MAX) })
    }

    /// Deletes orgs' markers.
    pub async fn forget(&mut self, org_ids: impl IntoIterator<Item = Uuid>) -> Result<(), CacheError> {
        let keys: Vec<String> = org_ids.into_iter().map(key).collect();
        for part in keys.chunks(PIPELINE) {
            redis::cmd("DEL").arg(part).query_async::<()>(&mut self.manager).await?;
        }
        Ok(())
    }

    /// How many markers there are of an org.
    pub async fn markers(&mut self, org_id: Uuid) -> Result<u64, CacheError> {
        Ok(redis::cmd("HLEN").arg(key(org_id)).query_async(&mut self.manager).await?)
    }

    /// Publishes markers, those of an org together: `analytics:freshness:{orgId}`, a hash by model. Each org's hash lives for
    /// the TTL from now.
    pub async fn publish(&mut self, markers: &[(Uuid, ModelFreshness)]) -> Result<(), CacheError> {
        for part in markers.chunks(PIPELINE) {
            let mut commands = redis::pipe();
            for of_org in part.chunk_by(|one, next| one.0 == next.0) {
                let key = key(of_org[0].0);
                // A struct of strings and numbers always has a JSON form.
                let field = |marker: &ModelFreshness| {
                    (marker.model_id.to_string(), serde_json::to_string(marker).unwrap_or_default())
                };
                let fields: Vec<(String, String)> = of_org.iter().map(|(_, marker)| field(marker)).collect();
                commands.hset_multiple(&key, &fields).ignore();
                commands.expire(&key, self.ttl_seconds).ignore();
            }
            commands.query_async::<()>(&mut self.manager).await?;
        }
        Ok(())
    }

    /// Lets the hashes of these orgs live for the TTL from now, and gives the orgs that have none any more.
    pub async fn keep_alive(&mut self, org_ids: &[Uuid]) -> Result<Vec<Uuid>, CacheError> {
        let mut gone = Vec::new();
        for part in org_ids.chunks(PIPELINE) {
            let mut commands = redis::pipe();
            for org_id in part {
                commands.expire(key(*org_id), self.ttl_seconds);
            }
            let kept: Vec<bool> = commands.query_async(&mut self.manager).await?;
            gone.extend(part.iter().zip(kept).filter(|(_, kept)| !kept).map(|(org_id, _)| *org_id));
        }
        Ok(gone)
    }
}

/// A cluster would take the markers of some orgs and refuse those of others, so it is refused as a whole. Who may not request
/// it (an ACL without INFO) hears of it when a marker is refused.
async fn refuse_cluster(manager: &mut ConnectionManager) -> Result<(), CacheError> {
    let info: Result<InfoDict, RedisError> = redis::cmd("INFO").arg("cluster").query_async(manager).await;
    match info {
        Ok(info) if info.get::<String>("cluster_enabled").as_deref() == Some("1") => Err(CacheError::Cluster),
        Err(error) if error.is_io_error() => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn key(org_id: Uuid) -> String {
    format!("analytics:freshness:{org_id}")
}
