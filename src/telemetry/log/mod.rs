//! Log lines on standard error: text for people, JSON for collectors.

mod fields;

use std::{error::Error, io::IsTerminal, iter};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, format::DefaultFields},
    registry::LookupSpan,
};

use self::fields::{Logged, LoggedJson};
use crate::config::Log;

/// What writes the lines, as the settings say.
///
/// # Errors
/// The filter is none.
pub fn layer<S>(settings: &Log) -> anyhow::Result<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(&settings.filter)?;
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = match settings.format.as_str() {
        "json" => lines.json().fmt_fields(LoggedJson).boxed(),
        _ => lines.fmt_fields(Logged(DefaultFields::new())).boxed(),
    };
    Ok(lines.with_filter(filter))
}

/// An error and its causes, each once: some errors have their cause in their own text.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn each_cause_of_an_error_is_printed_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("database: {0}")]
        struct Repeats(#[source] std::io::Error);
        let in_full = |error: anyhow::Error| in_full(error.as_ref());
        let cause = || Repeats(std::io::Error::other("connection refused"));
        assert_eq!(in_full(anyhow::Error::new(cause()).context("verify")), "verify: database: connection refused");
        assert_eq!(in_full(anyhow!("alone")), "alone");
        assert_eq!(in_full(anyhow!("inner").context("outer")), "outer: inner");
    }
}
