//! Rows of the supervision log.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{StoreError, bound::bound};
use crate::domain::supervision::{LogQuery, SupervisionEvent, UnknownWhat};

/// Records events. One that is a row already stays as it is: a response may have been lost.
pub async fn record(conn: &mut PgConnection, events: &[SupervisionEvent]) -> Result<(), StoreError> {
    let texts = |value: fn(&SupervisionEvent) -> Option<&str>| {
        events.iter().map(|event| value(event).map(str::to_owned)).collect::<Vec<_>>()
    };
    let columns = Columns {
        ids: events.iter().map(|event| event.event_id).collect(),
        moments: events.iter().map(|event| event.occurred_at).collect(),
        processes: texts(|event| Some(&event.process)),
        actors: texts(|event| Some(&event.actor)),
        generations: events.iter().map(|event| i64::try_from(event.generation).unwrap_or(i64::MAX)).collect(),
        what: texts(|event| Some(event.what.as_str())),
        causes: texts(|event| event.cause.as_deref()),
        next_attempts: events.iter().map(|event| event.next_attempt_at).collect(),
        by_whom: texts(|event| event.by_whom.as_deref()),
    };
    sqlx::query_with(include_str!("sql/supervision_record.sql"), columns.arguments()?).execute(conn).await?;
    Ok(())
}

type Texts = Vec<Option<String>>;

bound! {
    /// Events side by side, of supervision_record.sql.
    struct Columns {
        ids: Vec<Uuid>, moments: Vec<DateTime<Utc>>, processes: Texts, actors: Texts, generations: Vec<i64>,
        what: Texts, causes: Texts, next_attempts: Vec<Option<DateTime<Utc>>>, by_whom: Texts,
    }
}

/// Events of all processes, newest first.
pub async fn read(db: impl PgExecutor<'_>, query: &LogQuery) -> Result<Vec<SupervisionEvent>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(include_str!("sql/supervision_read.sql"))
        .bind(&query.actor)
        .bind(query.before)
        .bind(query.after)
        .bind(query.limit)
        .fetch_all(db)
        .await?;
    rows.into_iter().map(Row::event).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    event_id: Uuid,
    occurred_at: DateTime<Utc>,
    process: String,
    actor: String,
    generation: i64,
    what: String,
    cause: Option<String>,
    next_attempt_at: Option<DateTime<Utc>>,
    by_whom: Option<String>,
}

impl Row {
    fn event(self) -> Result<SupervisionEvent, sqlx::Error> {
        let what = self.what.parse().map_err(|error: UnknownWhat| sqlx::Error::Decode(Box::new(error)))?;
        Ok(SupervisionEvent {
            event_id: self.event_id,
            occurred_at: self.occurred_at,
            process: self.process,
            actor: self.actor,
            generation: u64::try_from(self.generation).unwrap_or_default(),
            what,
            cause: self.cause,
            next_attempt_at: self.next_attempt_at,
            by_whom: self.by_whom,
        })
    }
}
