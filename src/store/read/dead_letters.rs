//! Reading dead letters.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{ReadError, Reader, StoreError};
use crate::{
    domain::dead_letter::{
        DeadLetter, DeadLetterPage, DeadLetterQuery, LetterScope, OpenedLetter, Origin, Payload, State,
    },
    store::bound::bound,
};

const LIST: &str = include_str!("sql/dead_letters_list.sql");
const OPEN: &str = "
    SELECT dead_letter_id, org_id, stream, partition, stream_offset, rejected_at, reasons, payload_bytes, payload_sha256,
           corrected_by, corrected_at, replayed_at, payload, correction
    FROM analytics.dead_letters WHERE dead_letter_id = $2 AND {whose}";

bound! {
    /// Of dead_letters_list.sql.
    struct PageRow<'a> {
        org_id: Option<Uuid>, start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, state: Option<&'static str>,
        before: Option<Uuid>, limit: i64, event_id: Option<Uuid>, reason: Option<&'a str>,
    }
}

impl Reader {
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, ReadError> {
        let (whose, order, org_id) = conditions(query.whose);
        let page = PageRow {
            org_id,
            start: query.start,
            end: query.end,
            state: query.state.map(State::as_str),
            before: query.before,
            // One more shows that there are more.
            limit: i64::from(query.limit) + 1,
            event_id: query.event_id,
            reason: query.reason.as_deref(),
        };
        // Safe: what is put in are constants.
        let text = AssertSqlSafe(LIST.replace("{whose}", whose).replace("{order}", order));
        let rows = sqlx::query_as_with::<_, Row, _>(text, page.arguments()?);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let letters = rows.into_iter().map(|row| row.letter(query.whose)).collect::<Result<_, _>>()?;
        Ok(DeadLetterPage::of(letters, query.limit))
    }

    /// None where there is no such letter, or it belongs to another org.
    pub async fn dead_letter(&self, whose: LetterScope, id: Uuid) -> Result<Option<OpenedLetter>, ReadError> {
        let (condition, _, org_id) = conditions(whose);
        let rows =
            sqlx::query_as::<_, OpenedRow>(AssertSqlSafe(OPEN.replace("{whose}", condition))).bind(org_id).bind(id);
        let row = self.in_time(async |conn| rows.fetch_all(conn).await).await?.pop();
        Ok(row.map(|row| row.opened(whose)).transpose()?)
    }
}

/// The condition on $1, the order, and what $1 is.
fn conditions(whose: LetterScope) -> (&'static str, &'static str, Option<Uuid>) {
    match whose {
        LetterScope::Org(org_id) => ("org_id = $1", "org_id DESC, dead_letter_id DESC", Some(org_id)),
        LetterScope::Unreadable => ("org_id IS NULL AND $1::uuid IS NULL", "org_id DESC, dead_letter_id DESC", None),
        LetterScope::Any => ("$1::uuid IS NULL", "dead_letter_id DESC", None),
    }
}

#[derive(FromRow)]
struct Row {
    dead_letter_id: Uuid,
    org_id: Option<Uuid>,
    stream: String,
    partition: i32,
    stream_offset: i64,
    rejected_at: DateTime<Utc>,
    reasons: Vec<String>,
    payload_bytes: i64,
    payload_sha256: Vec<u8>,
    corrected_by: Option<String>,
    corrected_at: Option<DateTime<Utc>>,
    replayed_at: Option<DateTime<Utc>>,
}

impl Row {
    fn letter(self, whose: LetterScope) -> Result<DeadLetter, StoreError> {
        let origin = match whose {
            LetterScope::Org(_) => None,
            LetterScope::Unreadable | LetterScope::Any => Some(Origin {
                stream: self.stream,
                partition: u16::try_from(self.partition)
                    .map_err(|_| StoreError::impossible("a partition out of its range"))?,
                offset: self.stream_offset,
            }),
        };
        Ok(DeadLetter {
            id: self.dead_letter_id,
            org_id: self.org_id,
            origin,
            rejected_at: self.rejected_at,
            reasons: self.reasons,
            payload_bytes: u64::try_from(self.payload_bytes)
                .map_err(|_| StoreError::impossible("payload_bytes is negative"))?,
            payload_sha256: self.payload_sha256,
            state: State::of(self.corrected_at, self.replayed_at),
            corrected_by: self.corrected_by,
            corrected_at: self.corrected_at,
            replayed_at: self.replayed_at,
        })
    }
}

#[derive(FromRow)]
struct OpenedRow {
    #[sqlx(flatten)]
    row: Row,
    payload: Vec<u8>,
    correction: Option<Vec<u8>>,
}

impl OpenedRow {
    fn opened(self, whose: LetterScope) -> Result<OpenedLetter, StoreError> {
        let correction = self.correction.map(|body| {
            let text = String::from_utf8(body).map_err(|_| StoreError::impossible("a correction is not UTF-8"))?;
            RawValue::from_string(text).map_err(|_| StoreError::impossible("a correction is not JSON"))
        });
        let kept = u64::try_from(self.payload.len()).unwrap_or(u64::MAX);
        let letter = self.row.letter(whose)?;
        Ok(OpenedLetter {
            payload_truncated: letter.payload_bytes > kept,
            payload: Payload::from(self.payload),
            correction: correction.transpose()?,
            letter,
        })
    }
}
