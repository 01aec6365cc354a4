//! A step in the database, as a trace shows it where what it is a step of is traced.

/// A client's span of that name.
macro_rules! step {
    ($name:expr) => {
        tracing::debug_span!(
            $name,
            otel.kind = "client",
            { $crate::domain::trace::attribute::DB_SYSTEM_NAME } = "postgresql"
        )
    };
}
pub(crate) use step;
