//! `metrics!`: what is declared once of a metric, and what follows from it.
//!
//! A declaration is the help text, the name (a counter's is written with `_total`), the kind, and the labels by their types:
//!
//! ```text
//! /// Stream offsets that were dropped by the stream before they were read
//! stream_gap: Counter by { partition: Partition };
//! ```
//!
//! From it come the field that counts, its registration with the unit that the name ends in, a struct of its labels
//! (`of::stream_gap`), its series at 0, and its entry in [`DECLARED`](super::DECLARED), which the table in docs/observe.md is
//! compared with. A series by `Owned` ends when the partition leaves this process.

use std::hash::Hash;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};

use super::Seconds;

/// What operators see of a metric, but for its values.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub labels: &'static [&'static str],
}

/// What the process has come to know of: series of it begin.
pub enum Scope<'a> {
    Process,
    Partition(u16),
    /// By its address.
    Actor(&'a str),
    Task(&'static str),
    Port(&'static str),
}

/// The type of a label.
pub trait Label: Sized {
    /// The values that are known as soon as the scope is.
    fn first(scope: &Scope<'_>) -> Vec<Self>;

    /// The value that ends when this partition leaves the process.
    fn owned(_partition: u16) -> Option<Self> {
        None
    }
}

/// All labels of a metric.
pub trait Labels: Sized {
    /// Each combination of the labels' first values.
    fn first(scope: &Scope<'_>) -> Vec<Self>;

    /// Those that end when this partition leaves the process.
    fn owned(partition: u16) -> Option<Self>;
}

/// When series begin and end.
pub trait Lifespan {
    /// Counters exist at 0 before anything is counted: an alert on an increase misses the first one of a series that was not
    /// there. Of gauges and histograms nothing is known before they are set.
    fn begin(&self, _scope: &Scope<'_>) {}

    /// The partition leaves this process.
    fn end(&self, _partition: u16) {}
}

impl Lifespan for Counter {}
impl Lifespan for Gauge {}
impl Lifespan for Seconds {}
impl Lifespan for Histogram {}

impl<L: Labels + Clone + Eq + Hash + EncodeLabelSet> Lifespan for Family<L, Counter> {
    fn begin(&self, scope: &Scope<'_>) {
        for labels in L::first(scope) {
            drop(self.get_or_create(&labels));
        }
    }
}

impl<L: Labels + Clone + Eq + Hash> Lifespan for Family<L, Gauge> {
    fn end(&self, partition: u16) {
        if let Some(labels) = L::owned(partition) {
            self.remove(&labels);
        }
    }
}

impl<L: Labels + Clone + Eq + Hash> Lifespan for Family<L, Seconds> {
    fn end(&self, partition: u16) {
        if let Some(labels) = L::owned(partition) {
            self.remove(&labels);
        }
    }
}

impl<L> Lifespan for Family<L, Histogram> {}

/// Registers a metric, with the unit that its name ends in.
pub fn register(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
    match units.into_iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, unit))) {
        Some((base, unit)) => registry.register_with_unit(base, help, unit, metric),
        None => registry.register(name, help, metric),
    }
}

macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $kind:ident $(by { $($label:ident: $of:ty),+ })? $(= $new:expr)?;
    )+) => {
        /// The labels of each metric that has any, under the metric's name.
        #[expect(non_camel_case_types, reason = "a metric is found by its name")]
        mod of {
            use prometheus_client::encoding::EncodeLabelSet;

            use super::*;

            $($(
                #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
                pub struct $name {
                    $(pub $label: $of),+
                }

                impl declare::Labels for $name {
                    fn first(scope: &Scope<'_>) -> Vec<Self> {
                        let mut found = Vec::new();
                        metrics!(@combine scope found () $($label: $of),+);
                        found
                    }

                    fn owned(partition: u16) -> Option<Self> {
                        Some(Self { $($label: <$of as declare::Label>::owned(partition)?),+ })
                    }
                }
            )?)+
        }

        struct Series {
            $($name: metrics!(@type $name $kind ($($($label)+)?)),)+
        }

        impl Default for Series {
            fn default() -> Self {
                Self { $($name: metrics!(@new $kind ($($($label)+)?) ($($new)?)),)+ }
            }
        }

        impl Series {
            // The encoder adds `_total` to counters and a full stop to help texts.
            fn register(&self, registry: &mut prometheus_client::registry::Registry) {
                $(declare::register(registry, stringify!($name), concat!($($help),+).trim_start(), self.$name.clone());)+
            }

            fn begin(&self, scope: &declare::Scope<'_>) {
                $(declare::Lifespan::begin(&self.$name, scope);)+
            }

            fn end(&self, partition: u16) {
                $(declare::Lifespan::end(&self.$name, partition);)+
            }
        }

        /// All metrics of the service, in the order in which they are written.
        pub const DECLARED: &[declare::Declared] = &[$(declare::Declared {
            name: metrics!(@name $kind $name),
            kind: metrics!(@kind $kind),
            labels: &[$($(stringify!($label)),+)?],
        }),+];
    };

    (@type $name:ident $kind:ident ()) => { $kind };
    (@type $name:ident $kind:ident ($($label:ident)+)) => { Family<of::$name, $kind> };

    (@new $kind:ident () ()) => { $kind::default() };
    (@new $kind:ident () ($new:expr)) => { $new };
    (@new $kind:ident ($($label:ident)+) ()) => { Family::default() };
    (@new $kind:ident ($($label:ident)+) ($new:expr)) => { Family::new_with_constructor((|| $new) as fn() -> $kind) };

    (@combine $scope:ident $found:ident ($($before:ident)+)) => {
        $found.push(Self { $($before: Clone::clone(&$before)),+ })
    };
    (@combine $scope:ident $found:ident ($($before:ident)*) $label:ident: $of:ty $(, $after:ident: $also:ty)*) => {
        for $label in <$of as declare::Label>::first($scope) {
            metrics!(@combine $scope $found ($($before)* $label) $($after: $also),*);
        }
    };

    (@name Counter $name:ident) => { concat!("analytics_", stringify!($name), "_total") };
    (@name $kind:ident $name:ident) => { concat!("analytics_", stringify!($name)) };

    (@kind Counter) => { "counter" };
    (@kind Gauge) => { "gauge" };
    (@kind Seconds) => { "gauge" };
    (@kind Histogram) => { "histogram" };
}

pub(super) use metrics;
