//! How quick the service is, beside the limits of its servers, on real ones: `make bench`, with ARGS="--help" for what it takes.
//!
//! A stream is filled once. Then, in rounds, so that what else happens on the machine hits all alike: what the database can store, what the
//! broker can deliver, what the service does from the full stream to all committed and all merged, by each protocol; the same where
//! every event is looked up; from published to answered; and exports. Ratios are taken within a round. After each run the database is exactly
//! what was published. Dashboards' queries come after all rounds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that fails stops")]
#![expect(clippy::print_stdout, reason = "its output is its result")]

mod args;
mod copy;
mod drain;
mod exports;
mod figures;
mod filled;
#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod harness;
mod latency;
mod machine;
mod processor;
mod reads;
mod service;

use std::fs;

use clap::Parser;
use serde_json::json;

use args::{Args, Part};
use copy::Rows;
use exports::Exports;
use figures::Figures;
use filled::Filled;
use machine::Machine;
use processor::Servers;
use service::named;

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let (servers, began) = (Servers::find(), std::time::Instant::now());
    let machine = Machine::now().await;
    println!("{machine}");
    let prepared = Prepared::of(&args, &servers).await;
    let mut figures = Figures::default();
    let file = args.out.clone().unwrap_or_else(|| machine.file());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let write = |figures: &Figures, rounds: u32| {
        let result = json!({
            "machine": machine.json(), "events": args.events, "rounds": rounds, "seconds": began.elapsed().as_secs_f64(),
            "figures": figures.json(),
        });
        fs::write(&file, format!("{result:#}\n")).unwrap();
    };
    for round in 1..=args.rounds {
        println!("round {round} of {}, load average {}", args.rounds, machine::load_average());
        for part in &args.parts {
            prepared.measure(*part, &args, &servers, &mut figures).await;
        }
        ratios(&args, &mut figures);
        // What is measured is kept, also when a run is ended early.
        write(&figures, round);
    }
    if args.parts.contains(&Part::Reads) {
        reads::measure(&args, &mut figures);
        write(&figures, args.rounds);
    }
    println!("\n{machine}, load average at the end {}", machine::load_average());
    println!("{} events, {} rounds, {:.0} s", args.events, args.rounds, began.elapsed().as_secs_f64());
    figures.print();
    println!("\n{}", file.display());
}

/// What several rounds use.
struct Prepared {
    filled: Option<Filled>,
    rows: Option<Rows>,
    exports: Option<Exports>,
}

impl Prepared {
    async fn of(args: &Args, servers: &Servers) -> Self {
        let wants = |parts: &[Part]| args.parts.iter().any(|part| parts.contains(part));
        let mut prepared = Self { filled: None, rows: None, exports: None };
        if wants(&[Part::Exports]) {
            prepared.exports = Some(Exports::fill(args.rows).await);
        }
        if wants(&[Part::Copy, Part::Drain, Part::Ingest, Part::Suspects, Part::NoSets, Part::Folds]) {
            let filled = Filled::publish(args.events).await;
            if wants(&[Part::Copy]) {
                let by = *args.protocols.last().unwrap();
                prepared.rows = Some(Rows::of(&filled, by, servers).await);
            }
            prepared.filled = Some(filled);
        }
        prepared
    }

    async fn measure(&self, part: Part, args: &Args, servers: &Servers, figures: &mut Figures) {
        match part {
            Part::Copy => return self.rows.as_ref().unwrap().measure(servers, figures).await,
            Part::Exports => return self.exports.as_ref().unwrap().measure(servers, figures).await,
            Part::Reads => return,
            _ => {}
        }
        for by in args.protocols.iter().copied() {
            match part {
                Part::Drain => drain::measure(self.filled.as_ref().unwrap(), by, servers, figures).await,
                Part::Latency => latency::measure(args, by, servers, figures).await,
                _ => service::measure(self.filled.as_ref().unwrap(), by, part, servers, figures).await,
            }
        }
    }
}

/// Of this round.
fn ratios(args: &Args, figures: &mut Figures) {
    for by in args.protocols.iter().copied() {
        let (committed, merged) = (named(by, service::COMMITTED), named(by, service::MERGED));
        let limits = [(Part::Copy, copy::ALONE), (Part::Copy, copy::BUSY), (Part::Drain, &drain::rate(by))];
        let names = ["COPY, alone", "COPY, beside a busy core", "reading alone"];
        for (limit, name) in limits.into_iter().zip(names) {
            for (speed, what) in [(&committed, "last commit"), (&merged, "last merge")] {
                let ratio = named(by, &format!("{what} ÷ {name}"));
                figures.add_ratio(Part::Ingest, &ratio, (Part::Ingest, speed), limit);
            }
        }
        let ratio = named(by, "last merge, all suspects ÷ none");
        figures.add_ratio(Part::Suspects, &ratio, (Part::Suspects, &merged), (Part::Ingest, &merged));
        for (speed, what) in [(&committed, "last commit"), (&merged, "last merge")] {
            let ratio = named(by, &format!("{what}, sets folded each two seconds ÷ no sets"));
            figures.add_ratio(Part::Folds, &ratio, (Part::Folds, speed), (Part::NoSets, speed));
        }
    }
    let of = |what| (Part::Exports, what);
    // Of times, not of speeds.
    figures.add_ratio(Part::Exports, "time of a job ÷ COPY", of(exports::COPY), of(exports::JOB));
    figures.add_ratio(Part::Exports, "time of rows to CSV ÷ COPY", of(exports::COPY), of(exports::ROWS));
}
