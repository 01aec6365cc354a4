//! The schema's version: applying migrations, and checking that the service and the schema fit.

use std::{fmt, sync::LazyLock};

use sqlx::{Connection, PgConnection, migrate::Migrator};

use super::{
    StoreError,
    edition::is_community,
    error::said,
    rollups::engine::{self, Engine},
    transaction::in_transaction,
};
use crate::domain::schema_range::{self, Applied, Build, Misfit};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    // What a newer build has applied is judged by what the database says of it: see `Build::check_newer`.
    migrations.set_ignore_missing(true);
    migrations
});

static BUILD: LazyLock<Build> = LazyLock::new(|| {
    let up = MIGRATIONS.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let mut migrations: Vec<i64> = up.map(|migration| migration.version).collect();
    migrations.sort_unstable();
    Build { migrations, oldest_schema: OLDEST }
});

/// The oldest schema that this build works with: what later migrations add it does without where that is not there. A migration that
/// the code needs raises it to itself.
pub const OLDEST: i64 = 20_261_130_000_127;

/// Advisory lock of a change of the service's rights.
const GRANT_LOCK: i64 = 0x0067_7261_6e74;

/// Applies what is missing and grants the service's role its rights. Returns the version, which is newer than this build where a newer
/// one was here first and its schema works with this one: then nothing is applied.
///
/// # Errors
/// `Unfit` where the schema is newer and does not work with this build, `Permanent` where a migration refuses.
pub async fn up(conn: &mut PgConnection, service_role: &str) -> Result<i64, StoreError> {
    BUILD.check_newer(&applied(conn).await?).map_err(misfit)?;
    // One migrator at a time, however many start together: the migrations hold an advisory lock, and so do the grants.
    MIGRATIONS.run(&mut *conn).await.map_err(permanent)?;
    in_transaction(conn, async |tx| {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(GRANT_LOCK).execute(&mut *tx).await?;
        sqlx::query("SELECT analytics.grant_to($1)").bind(service_role).execute(&mut *tx).await?;
        Ok(schema_range::version(&applied(tx).await?))
    })
    .await
}

/// Takes migrations back down to a version.
///
/// # Errors
/// `Permanent` where one of them is of a newer build: only that one can undo it.
pub async fn down(conn: &mut PgConnection, version: i64) -> Result<(), StoreError> {
    applied_after(conn, version).await?;
    MIGRATIONS.undo(&mut *conn, version).await.map_err(permanent)
}

/// Whether a migration has this version.
pub fn knows(version: i64) -> bool {
    BUILD.knows(version)
}

/// The versions above that one which the database has, in their order.
///
/// # Errors
/// `Permanent` where one of them is not known to this build.
pub async fn applied_after(conn: &mut PgConnection, version: i64) -> Result<Vec<i64>, StoreError> {
    let after: Vec<i64> =
        applied(conn).await?.iter().map(|of| of.migration).filter(|migration| *migration > version).collect();
    match after.iter().find(|migration| !knows(**migration)) {
        None => Ok(after),
        Some(newer) => Err(StoreError::Permanent(format!(
            "migration {newer} is of a newer build, which alone can undo it: run `migrate --down-to` with that one"
        ))),
    }
}

/// The migrations that the database has, in their order.
async fn applied(conn: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
    if !exists(conn, "public._sqlx_migrations").await? {
        return Ok(Vec::new());
    }
    // A schema before 20261129000119 has no such table.
    let statement = if exists(conn, "analytics.schema_compatibility").await? {
        "SELECT version, oldest_build FROM public._sqlx_migrations
         LEFT JOIN analytics.schema_compatibility ON migration = version WHERE success ORDER BY version"
    } else {
        "SELECT version, NULL::bigint FROM public._sqlx_migrations WHERE success ORDER BY version"
    };
    let rows: Vec<(i64, Option<i64>)> = sqlx::query_as(statement).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(migration, oldest_build)| Applied { migration, oldest_build }).collect())
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

/// The newest version that this build knows: its name among builds.
pub fn newest() -> i64 {
    BUILD.newest()
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Server {
    pub postgres: String,
    pub timescaledb: String,
    /// `timescale` is the Community edition, `apache` the other.
    pub license: String,
    /// The schema's version, with which this build works.
    pub schema: i64,
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
        let Self { postgres, timescaledb, schema, engine, .. } = self;
        let edition = match self.is_community() {
            true => "Community edition",
            false => "Apache edition: no compression, no continuous aggregates",
        };
        write!(
            f,
            "PostgreSQL {postgres}, TimescaleDB {timescaledb}, {edition}; schema {schema}; rollups were {} at start",
            engine.as_str()
        )
    }
}

/// The schema's version.
///
/// # Errors
/// `Unfit` where this build does not work with it.
pub async fn check(conn: &mut PgConnection) -> Result<i64, StoreError> {
    BUILD.check(&applied(conn).await?).map_err(misfit)
}

/// Reads the versions of the server and the schema.
///
/// # Errors
/// `Unfit` where this build does not work with the schema.
pub async fn probe(conn: &mut PgConnection) -> Result<Server, StoreError> {
    conn.ping().await?;
    let schema = check(conn).await?;
    let (postgres, timescaledb, license) = sqlx::query_as(
        "SELECT current_setting('server_version'),
                (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
                current_setting('timescaledb.license')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let engine = engine::state(conn).await?.engine;
    Ok(Server { postgres, timescaledb, license, schema, engine })
}

fn misfit(misfit: Misfit) -> StoreError {
    StoreError::Unfit(misfit.to_string())
}

fn permanent(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError as E;
    StoreError::Permanent(match &error {
        E::ExecuteMigration(cause, version) => format!("migration {version}: {}", said(cause)),
        error => format!("migration: {error}"),
    })
}
