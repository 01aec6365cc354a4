//! The editions of TimescaleDB.

/// Whether a license (`timescaledb.license`) is of the edition with compression, continuous aggregates and jobs.
pub fn is_community(license: &str) -> bool {
    license == "timescale"
}
