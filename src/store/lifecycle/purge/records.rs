//! Records: dead letters, the audit log, the supervision log, replays that are over, processes that are gone, sessions that have
//! ended.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{OnStep, PIECE, RecordsPurged, Run, in_pieces};
use crate::store::StoreError;

/// How far the clocks that ids were made by may differ from the database's.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::days(1);

/// Of each: what counts the old rows, and what purges a piece of them. $1 the moment, $2 the first id that is certainly
/// younger, $3 most rows.
struct Statements {
    count: &'static str,
    take: &'static str,
}

/// Not those whose correction still has to be published.
const DEAD_LETTERS: Statements = Statements {
    count: "SELECT count(*) FROM analytics.dead_letters
            WHERE rejected_at < $1 AND (correction IS NULL OR replayed_at IS NOT NULL)",
    take: include_str!("../sql/purge_dead_letters.sql"),
};

const SUPERVISION: Statements = Statements {
    count: "SELECT count(*) FROM analytics.supervision_events WHERE occurred_at < $1",
    take: include_str!("../sql/purge_supervision.sql"),
};

const AUDIT: Statements = Statements {
    count: "SELECT count(*) FROM analytics.audit_events WHERE occurred_at < $1",
    take: "SELECT analytics.purge_audit($1, $3)",
};

const REPLAYS: Statements = Statements {
    count: "SELECT count(*) FROM analytics.replays WHERE state <> 'open' AND completed_at < $1",
    take: "WITH gone AS (DELETE FROM analytics.replays WHERE state <> 'open' AND completed_at < $1 RETURNING 1)
           SELECT count(*) FROM gone",
};

/// A process that starts deletes them after an hour; this is for processes that do not start any more.
const PROCESSES: Statements = Statements {
    count: "SELECT count(*) FROM analytics.processes WHERE expires_at < $1",
    take: "WITH gone AS (DELETE FROM analytics.processes WHERE expires_at < $1 RETURNING 1)
           SELECT count(*) FROM gone",
};

/// Jobs on demand whose files are long gone, and who requested them. Those of months stay: no version's number is given twice.
const EXPORTS: Statements = Statements {
    count: "SELECT count(*) FROM analytics.export_jobs
            WHERE kind = 'demand' AND status IN ('failed', 'expired') AND completed_at < $1 AND upload_id IS NULL",
    take: "WITH gone AS (DELETE FROM analytics.export_jobs
                         WHERE kind = 'demand' AND status IN ('failed', 'expired') AND completed_at < $1
                           AND upload_id IS NULL RETURNING 1)
           SELECT count(*) FROM gone",
};

/// As long as dead letters: both show why an event is not counted.
const DUPLICATES: Statements = Statements {
    count: "SELECT count(*) FROM analytics.duplicates WHERE last_at < $1",
    take: "WITH gone AS (DELETE FROM analytics.duplicates WHERE last_at < $1 RETURNING 1) SELECT count(*) FROM gone",
};

/// Those that have ended by their time, whenever that was.
const CONSOLE_SESSIONS: Statements = Statements {
    count: "SELECT count(*) FROM analytics.console_sessions WHERE expires_at < $1",
    take: "WITH gone AS (DELETE FROM analytics.console_sessions WHERE expires_at < $1 RETURNING 1)
           SELECT count(*) FROM gone",
};

/// Those that nobody has used in time.
const CONSOLE_LINKS: Statements = Statements {
    count: "SELECT count(*) FROM analytics.console_links WHERE expires_at < $1",
    take: "WITH gone AS (DELETE FROM analytics.console_links WHERE expires_at < $1 RETURNING 1)
           SELECT count(*) FROM gone",
};

pub async fn purge(conn: &mut PgConnection, run: &Run<'_>, on_step: OnStep<'_>) -> Result<RecordsPurged, StoreError> {
    let cutoffs = run.cutoffs;
    Ok(RecordsPurged {
        dead_letters: take(conn, run, "dead letters", &DEAD_LETTERS, cutoffs.dead_letters, on_step).await?,
        audit_events: take(conn, run, "the audit log", &AUDIT, cutoffs.audit, on_step).await?,
        supervision_events: take(conn, run, "the supervision log", &SUPERVISION, cutoffs.supervision, on_step).await?,
        export_jobs: take(conn, run, "exports", &EXPORTS, cutoffs.audit, on_step).await?,
        duplicates: take(conn, run, "duplicates", &DUPLICATES, cutoffs.dead_letters, on_step).await?,
        replays: take(conn, run, "replays", &REPLAYS, cutoffs.supervision, on_step).await?,
        processes: take(conn, run, "processes", &PROCESSES, cutoffs.supervision, on_step).await?,
        console_sessions: take(conn, run, "sessions of the console", &CONSOLE_SESSIONS, run.now, on_step).await?,
        console_links: take(conn, run, "links to the console", &CONSOLE_LINKS, run.now, on_step).await?,
    })
}

async fn take(
    conn: &mut PgConnection,
    run: &Run<'_>,
    name: &str,
    statements: &Statements,
    before: DateTime<Utc>,
    on_step: OnStep<'_>,
) -> Result<i64, StoreError> {
    on_step(&format!("{name}: looking for what is old"));
    if run.dry_run {
        return Ok(sqlx::query_scalar(statements.count).bind(before).fetch_one(conn).await?);
    }
    let mut gone = 0;
    in_pieces(async || {
        let taken: i64 = sqlx::query_scalar(statements.take)
            .bind(before)
            .bind(first_id(before + CLOCKS_DIFFER))
            .bind(PIECE)
            .fetch_one(&mut *conn)
            .await?;
        gone += taken;
        on_step(&format!("{name}: {gone} are gone"));
        Ok(taken)
    })
    .await
}

/// The smallest id of version 7 of a moment.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_moment_lie_behind_the_first() {
        let now = Utc::now();
        let before = Uuid::now_v7();
        assert!(first_id(now - TimeDelta::seconds(1)) < before && before < first_id(now + TimeDelta::seconds(5)));
    }
}
