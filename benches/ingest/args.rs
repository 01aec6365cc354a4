//! What is measured, and how often.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::harness::Protocol;

const AFTER_HELP: &str = "\
Example:
  make bench ARGS=\"--rounds 5 --events 1000000 --parts copy,drain,ingest\"";

/// Measure the service beside the limits of its servers, in rounds, and write the figures as JSON
#[derive(Parser)]
#[command(name = "make bench ARGS=…", after_help = AFTER_HELP)]
pub struct Args {
    /// How often everything is measured, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Events in the stream that is read
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// What is measured, in this order
    #[arg(long, value_delimiter = ',', default_values_t = Part::USUAL)]
    pub parts: Vec<Part>,
    /// By which protocols streams are read
    #[arg(long, value_delimiter = ',', default_values_t = [By::Amqp, By::Stream])]
    pub protocols: Vec<By>,
    /// Of `latency`: events a second
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 3000, 15_000])]
    pub rates: Vec<u32>,
    /// Of `latency` and `reads`: for how long at each rate
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Of `exports`: rows of a file
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(i64).range(1..))]
    pub rows: i64,
    /// Where the JSON is written [default: target/bench/TIME.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Cargo's word to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A bare COPY of the same rows
    Copy,
    /// A reader that stores nothing
    Drain,
    /// The service, from a full stream to all merged
    Ingest,
    /// The same, with every event looked up in the database
    Suspects,
    /// The same, with no sets of attribution; only where it is named
    NoSets,
    /// The same, with attribution folded each two seconds in place of each minute; only where it is named
    Folds,
    /// From published to the response that counts it
    Latency,
    /// An export beside COPY TO STDOUT
    Exports,
    /// Dashboards' queries beside pgbench, after all rounds; only where it is named, since filling in takes minutes
    Reads,
}

impl Part {
    pub const USUAL: [Self; 6] = [Self::Copy, Self::Drain, Self::Ingest, Self::Suspects, Self::Latency, Self::Exports];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    Amqp,
    Stream,
}

impl By {
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Amqp => Protocol::Amqp,
            Self::Stream => Protocol::Stream,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "AMQP",
            Self::Stream => "stream protocol",
        }
    }
}

/// As they are written in the arguments.
macro_rules! shown {
    ($($name:ty),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.to_possible_value().unwrap().get_name())
            }
        }
    )*};
}
shown!(Part, By);
