//! Settings: one struct per concern. Each setting is declared once, in its section's `section!` (see `declare`).
//!
//! Defaults, then a file, then `ANALYTICS__SECTION__KEY` variables. A value out of its bounds stops the start with
//! the setting's name and what it may be.

mod access;
mod attribution;
mod check;
mod console;
mod database;
mod declare;
mod exports;
mod http;
mod life;
mod objects;
mod pipeline;
mod process;
mod secret;

use std::{collections::HashMap, ffi::OsString, net::Ipv4Addr, path::Path};

use config::{Config, Environment, File, FileFormat};
use serde::Deserialize;

pub use access::*;
pub use attribution::*;
pub use console::*;
pub use database::*;
pub use exports::*;
pub use http::*;
pub use life::*;
pub use objects::*;
pub use pipeline::*;
pub use process::*;
pub use secret::*;

use crate::domain::console::ConsolePort;

const HEAD: &str = "\
# Every setting of the service with its default. Override by a file (--config FILE) or by environment variables:
# ANALYTICS__SECTION__KEY=value, for example ANALYTICS__BROKER__PARTITIONS=4. Environment wins over the file.
";

macro_rules! settings {
    ($($section:ident: $Section:ident,)+) => {
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(pub $section: $Section),+
        }

        impl Settings {
            /// What config.default.toml has: every setting with its meaning, bounds and default.
            fn defaults() -> String {
                [HEAD, $($Section::TOML),+].concat()
            }

            fn check_sections(&self, found: &mut check::Problems) {
                $(self.$section.check(found);)+
            }
        }
    };
}

settings! {
    broker: Broker,
    batch: Batch,
    events: Events,
    dedupe: Dedupe,
    database: Database,
    query: Query,
    rollups: Rollups,
    attribution: Attribution,
    retention: Retention,
    maintenance: Maintenance,
    exports: Exports,
    cache: Cache,
    freshness: Freshness,
    objects: Objects,
    http: Http,
    ops: Ops,
    console: Console,
    ingest: Ingest,
    auth: Auth,
    rate_limit: RateLimit,
    supervision: Supervision,
    lease: Lease,
    drain: Drain,
    log: Log,
    otlp: Otlp,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Names the setting where one is to blame.
    #[error("configuration: {0}")]
    Unreadable(String),
    #[error("configuration: {}", .0.join("; "))]
    OutOfBounds(Vec<String>),
}

impl From<config::ConfigError> for ConfigError {
    fn from(error: config::ConfigError) -> Self {
        Self::Unreadable(without_value(error))
    }
}

/// Refuses variables that are no text by their name: the library's error would quote a secret.
fn all_text(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if name.starts_with("ANALYTICS__") && value.to_str().is_none() {
            return Err(ConfigError::Unreadable(format!("{name} must be UTF-8 text")));
        }
    }
    Ok(())
}

/// The value that a setting's word stands for; or what it may be, without what it is.
fn one_of<T: Copy>(word: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        format!("must be {}", names.join(" or "))
    })
}

/// The library's error without the value that it found: that may be a secret in the wrong place.
fn without_value(error: config::ConfigError) -> String {
    let named = |key: Option<String>| key.unwrap_or_else(|| "a setting".to_owned());
    match error {
        config::ConfigError::Type { expected, key, .. } => format!("{} must be {expected}", named(key)),
        config::ConfigError::At { error, key, .. } => match without_value(*error) {
            // What serde says of a value: `invalid type: string "…", expected …`.
            text if text.starts_with("invalid ") => {
                let expected = text.rsplit_once(", expected ").map_or("of another form", |(_, expected)| expected);
                format!("{} must be {expected}", named(key))
            }
            // What a type of ours says of a value.
            text if text.starts_with("must be ") => format!("{} {text}", named(key)),
            text => format!("{}: {text}", named(key)),
        },
        config::ConfigError::FileParse { uri, cause } => {
            // The lines after the first quote the file.
            let text = cause.to_string();
            format!("{}: {}", named(uri), text.lines().next().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

impl Settings {
    /// Where browsers find the console of a port.
    pub fn console_url(&self, port: ConsolePort) -> String {
        let (url, mut address) = match port {
            ConsolePort::Api => (&self.console.public_url, self.http.address),
            ConsolePort::Operations => (&self.console.operations_url, self.ops.address),
        };
        if !url.is_empty() {
            return url.trim_end_matches('/').to_owned();
        }
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// Reads the defaults, the file if there is one, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::from_sources(file, None)
    }

    /// Reads the defaults and variables that are given instead of the environment's.
    pub fn from_variables(variables: HashMap<String, String>) -> Result<Self, ConfigError> {
        Self::from_sources(None, Some(variables))
    }

    fn from_sources(file: Option<&Path>, variables: Option<HashMap<String, String>>) -> Result<Self, ConfigError> {
        if variables.is_none() {
            all_text(std::env::vars_os())?;
        }
        let environment = Environment::with_prefix("ANALYTICS").prefix_separator("__").separator("__");
        // Values stay texts until their type is known: a secret of digits alone is no number.
        let environment = environment.source(variables);
        let mut sources = Config::builder().add_source(File::from_str(&Self::defaults(), FileFormat::Toml));
        if let Some(path) = file {
            sources = sources.add_source(File::from(path).format(FileFormat::Toml));
        }
        let settings: Self = sources.add_source(environment).build()?.try_deserialize()?;
        let problems = settings.problems();
        if problems.is_empty() { Ok(settings) } else { Err(ConfigError::OutOfBounds(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        Settings::from_variables(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_variable_that_is_no_text_is_not_quoted() {
        use std::os::unix::ffi::OsStringExt as _;
        let value = OsString::from_vec(b"\xffhidden".to_vec());
        let foreign = ("OTHER".into(), value.clone());
        let error = all_text([foreign, ("ANALYTICS__AUTH__HS256_SECRET".into(), value)].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "configuration: ANALYTICS__AUTH__HS256_SECRET must be UTF-8 text");
    }

    /// With `UPDATE_DEFAULTS=1` the file is written.
    #[test]
    fn the_file_of_defaults_is_what_is_declared() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.default.toml");
        if std::env::var_os("UPDATE_DEFAULTS").is_some() {
            std::fs::write(&file, Settings::defaults()).unwrap();
        }
        let text = std::fs::read_to_string(file).unwrap();
        for (line, (written, declared)) in (1..).zip(text.lines().zip(Settings::defaults().lines())) {
            assert_eq!(written, declared, "config.default.toml, line {line}: run this test with UPDATE_DEFAULTS=1");
        }
        assert_eq!(text, Settings::defaults());
    }

    #[test]
    fn the_defaults_are_within_their_own_bounds() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.broker.stream, "analytics.usage.v1");
    }

    #[test]
    fn a_variable_overrides_a_default() {
        assert_eq!(with(&[("ANALYTICS__BROKER__PARTITIONS", "4")]).unwrap().broker.partitions, 4);
    }

    #[test]
    fn a_wrong_word_names_those_that_may_be() {
        for (key, expected) in [
            ("ANALYTICS__ROLLUPS__ENGINE", "rollups.engine must be auto or live or continuous"),
            ("ANALYTICS__OBJECTS__STORE", "objects.store must be local or s3"),
            ("ANALYTICS__OBJECTS__ENCRYPTION", "objects.encryption must be none or sse-s3 or sse-kms"),
        ] {
            let error = with(&[(key, "Secret")]).unwrap_err().to_string();
            assert_eq!(error, format!("configuration: {expected}"));
        }
    }

    #[test]
    fn a_wrong_value_names_setting_and_bounds() {
        let error = with(&[("ANALYTICS__BATCH__CREDITS", "0"), ("ANALYTICS__LOG__FORMAT", "xml")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration: batch.credits must be from 1 to 16, is 0; log.format must be text or json"
        );
        for (key, value, setting) in [
            ("ANALYTICS__BROKER__PARTITIONS", "many", "broker.partitions"),
            ("ANALYTICS__BROKER__PARTITION", "4", "partition"),
            ("ANALYTICS__HTTP__ADDRESS", "nowhere", "http.address"),
        ] {
            let error = with(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for (settings, problem) in [
            (
                &[("ANALYTICS__EVENTS__MAX_AHEAD_SECONDS", "0")][..],
                "events.max_ahead_seconds must be from 1 to 3600, is 0",
            ),
            (&[("ANALYTICS__FRESHNESS__FRESH_SECONDS", "4")], "freshness.fresh_seconds must be from 5 to 86400, is 4"),
            (
                &[
                    ("ANALYTICS__CACHE__URL", "redis://localhost"),
                    ("ANALYTICS__CACHE__TTL_SECONDS", "6"),
                    ("ANALYTICS__FRESHNESS__INTERVAL_MS", "2001"),
                ],
                "freshness.interval_ms must be at most a third of cache.ttl_seconds, 2000, or markers expire between: is 2001",
            ),
        ] {
            assert_eq!(with(settings).unwrap_err().to_string(), format!("configuration: {problem}"));
        }
    }

    #[test]
    fn raw_retention_exceeds_the_dedupe_window() {
        let with = |days, hours| {
            with(&[("ANALYTICS__EVENTS__RETENTION_DAYS", days), ("ANALYTICS__DEDUPE__WINDOW_HOURS", hours)])
        };
        assert!(with("3", "24").is_ok());
        assert_eq!(
            with("33", "768").unwrap_err().to_string(),
            "configuration: events.retention_days must be at least 34 with dedupe.window_hours = 768, is 33"
        );
    }

    #[test]
    fn a_window_beyond_all_durations_is_refused() {
        for hours in ["9999999999999", "-9999999999999"] {
            let error = with(&[("ANALYTICS__DEDUPE__WINDOW_HOURS", hours)]).unwrap_err().to_string();
            assert_eq!(error, format!("configuration: dedupe.window_hours must be from 1 to 768, is {hours}"));
        }
    }

    #[test]
    fn a_slow_process_keeps_its_export() {
        let error = with(&[("ANALYTICS__EXPORTS__HEARTBEAT_MS", "5000"), ("ANALYTICS__EXPORTS__TAKEOVER_MS", "14999")]);
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "configuration: exports.takeover_ms must be from 15000 to 3600000, is 14999");
        assert_eq!(with(&[("ANALYTICS__EXPORTS__ACTORS", "0")]).unwrap().exports.actors, 0);
    }

    #[test]
    fn a_key_set_has_one_secure_source() {
        const URL: &str = "ANALYTICS__AUTH__JWKS_URL";
        let wrong = |pairs: &[(&str, &str)]| with(pairs).unwrap_err().to_string();
        assert!(wrong(&[(URL, "http://issuer/keys")]).contains("auth.jwks_url must be an https:// URL"));
        assert!(with(&[(URL, "http://issuer/keys"), ("ANALYTICS__AUTH__JWKS_ALLOW_HTTP", "true")]).is_ok());
        let both = wrong(&[(URL, "https://issuer/keys"), ("ANALYTICS__AUTH__JWKS_FILE", "/etc/keys.json")]);
        assert!(both.contains("auth.jwks_file must be empty where auth.jwks_url is set"));
    }

    #[test]
    fn secrets_of_digits_stay_secret_text() {
        let error = with(&[("ANALYTICS__DATABASE", "postgres://u:hunter22@h/d")]).unwrap_err().to_string();
        assert!(error.contains("database") && !error.contains("hunter22"), "{error}");
        let digits = "12345678901234567890123456789012";
        let settings = with(&[("ANALYTICS__AUTH__HS256_SECRET", digits)]).unwrap();
        assert_eq!(settings.auth.hs256_secret.expose(), digits);
    }

    #[test]
    fn secrets_do_not_show_when_settings_are_printed() {
        let settings = with(&[
            ("ANALYTICS__AUTH__HS256_SECRET", "0123456789abcdef0123456789abcdef"),
            ("ANALYTICS__DATABASE__URL", "postgres://u:hunter22@h/d"),
        ]);
        let printed = format!("{:?}", settings.unwrap());
        assert!(!printed.contains("0123456789abcdef") && !printed.contains("hunter22"), "{printed}");
    }
}
