//! Which fields of spans are in a line: all but those that only traces have a use for.

use std::{collections::BTreeMap, error::Error, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{MakeVisitor, RecordFields, VisitFmt, VisitOutput},
    fmt::{
        FormatFields, FormattedFields,
        format::{DefaultFields, DefaultVisitor, JsonVisitor, Writer},
    },
};

use crate::telemetry::traces::spans::NOT_LOGGED;

/// Fields of lines for people.
#[derive(Debug, Default)]
pub struct Logged(pub DefaultFields);

impl<'w> MakeVisitor<Writer<'w>> for Logged {
    type Visitor = Filtered<DefaultVisitor<'w>>;

    fn make_visitor(&self, target: Writer<'w>) -> Self::Visitor {
        Filtered(self.0.make_visitor(target))
    }
}

/// Fields of lines for collectors.
#[derive(Debug, Default)]
pub struct LoggedJson;

impl<'w> FormatFields<'w> for LoggedJson {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Filtered(JsonVisitor::new(&mut writer));
        fields.record(&mut visitor);
        visitor.finish()
    }

    /// What is recorded later is one object with what was there.
    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &tracing::span::Record<'_>) -> fmt::Result {
        let mut later = String::new();
        self.format_fields(Writer::new(&mut later), fields)?;
        let object = |text: &str| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text);
        let mut all = object(if current.is_empty() { "{}" } else { &current.fields }).map_err(|_| fmt::Error)?;
        all.extend(object(&later).map_err(|_| fmt::Error)?);
        current.fields = serde_json::to_string(&all).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

/// A visitor that is not shown what is of no use in a line.
pub struct Filtered<V>(V);

macro_rules! shown {
    ($($method:ident: $of:ty),+ $(,)?) => {
        $(fn $method(&mut self, field: &Field, value: $of) {
            if !field.name().starts_with(NOT_LOGGED) {
                self.0.$method(field, value);
            }
        })+
    };
}

impl<V: Visit> Visit for Filtered<V> {
    shown! {
        record_f64: f64,
        record_i64: i64,
        record_u64: u64,
        record_i128: i128,
        record_u128: u128,
        record_bool: bool,
        record_str: &str,
        record_bytes: &[u8],
        record_error: &(dyn Error + 'static),
        record_debug: &dyn fmt::Debug,
    }
}

impl<V: VisitOutput<fmt::Result>> VisitOutput<fmt::Result> for Filtered<V>
where
    V: Visit,
{
    fn finish(self) -> fmt::Result {
        self.0.finish()
    }
}

impl<V: VisitFmt + Visit> VisitFmt for Filtered<V> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.0.writer()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn write_line() {
        let span = tracing::info_span!("work", otel.kind = "internal", partition = 3, batch = tracing::field::Empty);
        span.record("batch", 7);
        span.in_scope(|| tracing::info!(rows = 2, "stored"));
    }

    fn line(lines: &Lines) -> String {
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_the_spans_fields_but_for_the_traces() {
        let lines = Lines::default();
        let text = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_target(false);
        let text = text.fmt_fields(Logged::default()).with_writer(lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(text), write_line);
        assert_eq!(line(&lines), " INFO work{partition=3 batch=7}: stored rows=2\n");
    }

    #[test]
    fn a_json_line_has_them_as_an_object() {
        let lines = Lines::default();
        let json = tracing_subscriber::fmt::layer().json().fmt_fields(LoggedJson).with_writer(lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), write_line);
        let line: serde_json::Value = serde_json::from_str(&line(&lines)).unwrap();
        assert_eq!(line["span"], serde_json::json!({"name": "work", "partition": 3, "batch": 7}));
        assert_eq!(line["fields"]["rows"], 2);
    }
}
