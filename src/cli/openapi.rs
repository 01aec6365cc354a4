//! `openapi`: prints the API's description, or that of the events.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use crate::http::openapi;

/// Print the description of the REST API: OpenAPI 3.1, as /openapi.json serves it
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service openapi > openapi.json")]
pub struct Args {
    /// Describe the events of the stream instead, as docs/analytics-events-openapi.yaml does
    #[arg(long)]
    events: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = if args.events { openapi::events().to_yaml()? } else { openapi::document().to_pretty_json()? };
    writeln!(stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_described_events_are_those_of_the_code() {
        let ours = openapi::events().to_yaml().unwrap();
        let file = include_str!("../../docs/analytics-events-openapi.yaml");
        assert_eq!(file.trim_end(), ours.trim_end(), "regenerate it: analytics-service openapi --events");
    }
}
