//! Erasure: deletes an org's or a person's data for good.
//!
//! The ledger keeps its counts: what is deleted is added to `purged` of the batches that stored it, in the same transaction. Each
//! step may be done again, so a command that was killed is simply run again.

mod actor;
mod org;

pub use crate::store::attribution::erase::{
    actor as actor_names, count_actor as count_actor_names, org as attribution_of_org,
};
pub use actor::{ActorDay, actor_day, actor_days};
pub use org::{count_org, events_of_org, keys_and_letters, markers, rest_of_org};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::StoreError;

/// What there is of an org or a person, or was. Of a person there are only raw events, dead letters, names, those of sums, and files by
/// person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub raw_events: i64,
    pub hourly_rollups: i64,
    pub daily_rollups: i64,
    /// Hours by model that wait to be merged.
    #[sqlx(default)]
    pub pending_rollups: i64,
    /// Parts, names and sums that wait, of attribution.
    #[sqlx(default)]
    pub attribution: i64,
    pub revisions: i64,
    pub freshness_markers: i64,
    /// Those in Redis, which the database does not know of.
    #[sqlx(default)]
    pub cached_markers: i64,
    #[sqlx(default)]
    pub dead_letters: i64,
    /// Names of duplicates; of a person none are known.
    pub duplicates: i64,
    pub api_keys: i64,
    pub settings: i64,
    /// What its ids, or the person, are called.
    #[sqlx(default)]
    pub names: i64,
    #[sqlx(default)]
    pub exports: i64,
    /// In the object store, which the database does not know of.
    #[sqlx(default)]
    pub export_objects: i64,
}

impl Counts {
    /// Each by its name.
    pub const fn named(&self) -> [(&'static str, i64); 15] {
        [
            ("raw events", self.raw_events),
            ("hourly rollups", self.hourly_rollups),
            ("daily rollups", self.daily_rollups),
            ("pending rollups", self.pending_rollups),
            ("rows of attribution", self.attribution),
            ("revisions", self.revisions),
            ("freshness markers", self.freshness_markers),
            ("markers in Redis", self.cached_markers),
            ("dead letters", self.dead_letters),
            ("duplicates", self.duplicates),
            ("API keys", self.api_keys),
            ("settings", self.settings),
            ("names", self.names),
            ("exports", self.exports),
            ("objects of exports", self.export_objects),
        ]
    }

    pub fn is_nothing(&self) -> bool {
        self.named().iter().all(|(_, n)| *n == 0)
    }
}

/// Raw events of an org: of one person or of all, of a time or of all.
#[derive(Clone, Copy, Debug)]
struct Events {
    org_id: Uuid,
    actor_id: Option<Uuid>,
    /// The end is exclusive.
    time: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Deletes raw events. How many it were.
async fn events(tx: &mut PgConnection, which: Events) -> Result<i64, StoreError> {
    // A compressed chunk is unpacked where something of it goes, however much that is.
    sqlx::query("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0").execute(&mut *tx).await?;
    let gone = sqlx::query_scalar(include_str!("../sql/erase_events.sql"))
        .bind(which.org_id)
        .bind(which.actor_id)
        .bind(which.time.map(|(start, _)| start))
        .bind(which.time.map(|(_, end)| end))
        .fetch_one(tx)
        .await?;
    Ok(gone)
}

/// The dead letters of an org, of a person, or of a person in an org.
pub async fn letters_of(
    conn: &mut PgConnection,
    org_id: Option<Uuid>,
    actor_id: Option<Uuid>,
) -> Result<Vec<Uuid>, StoreError> {
    let digits = |id: Uuid| id.simple().to_string();
    let found = sqlx::query_scalar(include_str!("../sql/erase_letters.sql"))
        .bind(org_id.map(digits))
        .bind(actor_id.map(digits))
        .fetch_all(conn)
        .await?;
    Ok(found)
}

/// Deletes dead letters, once their corrections are not being published. Returns how many.
pub async fn letters(conn: &mut PgConnection, ids: &[Uuid]) -> Result<i64, StoreError> {
    let statement = "DELETE FROM analytics.dead_letters WHERE dead_letter_id = ANY($1)";
    let gone = sqlx::query(statement).bind(ids).execute(conn).await?;
    Ok(rows(&gone))
}

fn rows(done: &sqlx::postgres::PgQueryResult) -> i64 {
    i64::try_from(done.rows_affected()).unwrap_or(i64::MAX)
}
