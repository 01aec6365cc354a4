//! Dashboards' queries beside pgbench with the same SQL: `benches/reads.rs`, a program of its own, whose results become figures here.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{
    args::{Args, Part},
    figures::{Figures, Unit},
};

/// It takes turns by itself, as many as there are rounds, since filling in its history takes minutes.
pub fn measure(args: &Args, figures: &mut Figures) {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let (seconds, rounds) = (args.seconds.to_string(), args.rounds.to_string());
    let run = Command::new(cargo)
        .args(["bench", "--locked", "--bench", "reads", "--", &seconds, &rounds])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}");
    let said: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for result in said["results"].as_array().unwrap() {
        let word = |name: &str| result[name].as_str().unwrap();
        let (question, by, beside) = (word("question"), word("by"), word("beside"));
        let named = |by: &str, what: &str| format!("{question} by {by}, beside {beside}: {what}");
        for what in ["p50", "p95", "p99"] {
            let value = result[what].as_f64().unwrap_or(f64::NAN);
            figures.add(Part::Reads, named(by, what), Unit::Millis, value);
        }
        figures.add(Part::Reads, named(by, "failed"), Unit::Count, result["failed"].as_f64().unwrap());
        if by == "pgbench" {
            let (service, pgbench) = (named("service", "p99"), named("pgbench", "p99"));
            let ratio = format!("{question}, beside {beside}: p99 of service ÷ pgbench");
            figures.add_ratio(Part::Reads, &ratio, (Part::Reads, &service), (Part::Reads, &pgbench));
        }
    }
}
