//! The schema's version: applying migrations, and checking that the service and the schema fit.

use std::fmt;

use sqlx::{Connection, PgConnection, migrate::Migrator};

use super::{
    StoreError,
    edition::is_community,
    error::said,
    rollups::engine::{self, Engine},
    transaction::in_transaction,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Advisory lock of a change of the service's rights.
const GRANT_LOCK: i64 = 0x0067_7261_6e74;

/// Applies what is missing and grants the service's role its rights. Returns the version.
pub async fn up(conn: &mut PgConnection, service_role: &str) -> Result<i64, StoreError> {
    // One migrator at a time, however many start together: the migrations hold an advisory lock, and so do the grants.
    MIGRATIONS.run(&mut *conn).await.map_err(permanent)?;
    in_transaction(conn, async |tx| {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(GRANT_LOCK).execute(&mut *tx).await?;
        sqlx::query("SELECT analytics.grant_to($1)").bind(service_role).execute(tx).await?;
        Ok(newest())
    })
    .await
}

/// Takes migrations back down to a version.
pub async fn down(conn: &mut PgConnection, version: i64) -> Result<(), StoreError> {
    MIGRATIONS.undo(&mut *conn, version).await.map_err(permanent)
}

/// Whether a migration has this version.
pub fn knows(version: i64) -> bool {
    MIGRATIONS.iter().any(|migration| migration.version == version)
}

/// The versions above that one which the database has, in their order.
pub async fn applied_after(conn: &mut PgConnection, version: i64) -> Result<Vec<i64>, StoreError> {
    if !exists(conn, "public._sqlx_migrations").await? {
        return Ok(Vec::new());
    }
    let applied = sqlx::query_scalar("SELECT version FROM public._sqlx_migrations WHERE version > $1 ORDER BY version");
    Ok(applied.bind(version).fetch_all(conn).await?)
}

/// The names of processes that work on the database, of any stream.
pub async fn processes(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    if !exists(conn, "analytics.processes").await? {
        return Ok(Vec::new());
    }
    let living = "SELECT name FROM analytics.processes WHERE expires_at > clock_timestamp() ORDER BY name";
    Ok(sqlx::query_scalar(living).fetch_all(conn).await?)
}

async fn exists(conn: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(conn).await?)
}

/// The newest version that this build knows.
pub fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Server {
    pub postgres: String,
    pub timescaledb: String,
    /// `timescale` is the Community edition, `apache` the other.
    pub license: String,
    /// What keeps the rollups.
    pub engine: Engine,
}

impl Server {
    pub fn is_community(&self) -> bool {
        is_community(&self.license)
    }
}

/// For operators: what it is and what it cannot do.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { postgres, timescaledb, engine, .. } = self;
        let edition = match self.is_community() {
            true => "Community edition",
            false => "Apache edition: no compression, no continuous aggregates",
        };
        write!(
            f,
            "PostgreSQL {postgres}, TimescaleDB {timescaledb}, {edition}; rollups were {} at start",
            engine.as_str()
        )
    }
}

/// Reads the versions of the server and the schema.
///
/// # Errors
/// `Permanent` where the schema is not the one that this build works on.
pub async fn probe(conn: &mut PgConnection) -> Result<Server, StoreError> {
    conn.ping().await?;
    let found: Option<i64> = if exists(conn, "public._sqlx_migrations").await? {
        sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations WHERE success")
            .fetch_one(&mut *conn)
            .await?
    } else {
        None
    };
    let ours = newest();
    match found {
        Some(version) if version == ours => {}
        // What a newer build has added or removed is not known here.
        Some(version) if version > ours => {
            return Err(StoreError::Permanent(format!(
                "the schema's version is {version}, and this build knows them up to {ours}: start a newer build, or take the \
                 schema back with the newer build's `migrate --down-to {ours}`"
            )));
        }
        _ => {
            let found = found.map_or("none".to_owned(), |version| version.to_string());
            return Err(StoreError::Permanent(format!("the schema's version is {found}, not {ours}: run `migrate`")));
        }
    }
    let (postgres, timescaledb, license) = sqlx::query_as(
        "SELECT current_setting('server_version'),
                (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
                current_setting('timescaledb.license')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let engine = engine::state(conn).await?.engine;
    Ok(Server { postgres, timescaledb, license, engine })
}

fn permanent(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError as E;
    StoreError::Permanent(match &error {
        E::ExecuteMigration(cause, version) => format!("migration {version}: {}", said(cause)),
        error => format!("migration: {error}"),
    })
}
