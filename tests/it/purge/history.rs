//! Days of history as a service would have stored them, put there by SQL: events, their batches, rollups and ledger hours.

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// Days back to which history reaches, today's included.
pub const DAYS: i32 = 12;
pub const ORGS: u128 = 3;
const FIRST_ORG: u128 = 0x0a00;

pub fn org(n: u128) -> Uuid {
    Uuid::from_u128(FIRST_ORG + n)
}

pub async fn history(conn: &mut PgConnection) {
    history_of(conn, DAYS).await;
}

/// The same of so many days.
pub async fn history_of(conn: &mut PgConnection, days: i32) {
    let statements = include_str!("history.sql")
        .replace("{days}", &days.to_string())
        .replace("{orgs}", &ORGS.to_string())
        .replace("{first_org}", &FIRST_ORG.to_string());
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(conn).await.unwrap();
}
