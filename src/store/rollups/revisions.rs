//! Revisions: what a merge changes of hours that responses have called final.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        revision::Reason,
        rollup::{Key, Measures, Merge, hour_start},
    },
    store::{StoreError, amount::Amount, bound::bound, columns::overflow},
};

/// Hours that responses have called final, with what is added to each; by the first hour of an org that none has
/// called so.
pub fn closed_hours(merge: &Merge, first_open: impl Fn(Uuid) -> Option<i32>) -> Vec<(&Key, &Measures, Reason)> {
    let is_closed = |key: &Key| first_open(key.org_id).is_some_and(|first_open| key.bucket < first_open);
    let reason = |key| if merge.replayed.contains(key) { Reason::Replay } else { Reason::Late };
    // Not what adds nothing: a rebuild of the bucket had it already.
    let closed = merge.hourly.iter().filter(|(key, measures)| measures.invocations() > 0 && is_closed(key));
    closed.map(|(key, measures)| (key, measures, reason(key))).collect()
}

/// Notes what closed hours had before, and will have with what is added.
pub async fn revise(
    conn: &mut PgConnection,
    closed: &[(&Key, &Measures, Reason)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let column = |value: fn(&Measures) -> u64| -> Result<Vec<i64>, StoreError> {
        closed.iter().map(|(_, measures, _)| i64::try_from(value(measures)).map_err(overflow)).collect()
    };
    let revisions = Revisions {
        ids: closed.iter().map(|_| Uuid::now_v7()).collect(),
        orgs: closed.iter().map(|(key, ..)| key.org_id).collect(),
        hours: closed.iter().map(|(key, ..)| hour_start(key.bucket)).collect(),
        models: closed.iter().map(|(key, ..)| key.model_id).collect(),
        reasons: closed.iter().map(|(.., reason)| reason.as_str()).collect(),
        invocations: column(Measures::invocations)?,
        input_tokens: column(|m| m.input_tokens)?,
        output_tokens: column(|m| m.output_tokens)?,
        costs: closed.iter().map(|(_, measures, _)| Amount(measures.cost)).collect(),
        at,
    };
    sqlx::query_with(include_str!("sql/revisions_add.sql"), revisions.arguments()?).execute(conn).await?;
    Ok(())
}

bound! {
    /// Of revisions_add.sql.
    struct Revisions {
        ids: Vec<Uuid>, orgs: Vec<Uuid>, hours: Vec<DateTime<Utc>>, models: Vec<Uuid>, reasons: Vec<&'static str>,
        invocations: Vec<i64>, input_tokens: Vec<i64>, output_tokens: Vec<i64>, costs: Vec<Amount>,
        at: DateTime<Utc>,
    }
}
