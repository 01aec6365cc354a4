//! `actors list`: the tree under the root.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    actors::supervision::registry::ActorView,
    cli::{
        client::Client,
        print::{self, Column, absent, harmless, seconds, span},
    },
};

/// Show what each actor is doing
///
/// Actors that start and end together are below the name of their group. RESTARTS are those after failures that count
/// against supervision.max_restarts, not those by operators; IN FLIGHT pieces of work that are begun and not done; PROGRESS how
/// long ago there was some; OFFSET the next one to commit, CAUSE why it failed last.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service actors list")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Tree {
    actors: Vec<ActorView>,
}

pub async fn run(args: Args, client: &Client) -> anyhow::Result<()> {
    let body = client.get("/ops/actors", &[]).await?.success()?;
    if args.json {
        return print::text(body.trim_end());
    }
    let tree: Tree = serde_json::from_str(&body).context("the response is of another version")?;
    print::text(&table(&tree.actors, Utc::now()))
}

fn table(actors: &[ActorView], now: DateTime<Utc>) -> String {
    let columns = [
        Column::Text("NAME"),
        Column::Text("STATE"),
        Column::Number("GENERATION"),
        Column::Number("RESTARTS"),
        Column::Number("IN FLIGHT"),
        Column::Number("PROGRESS"),
        Column::Number("OFFSET"),
        Column::Number("LAG"),
        Column::Number("NEXT ATTEMPT"),
        Column::Text("CAUSE"),
    ];
    let mut rows = Vec::new();
    for actor in actors {
        add(&mut rows, actor, 0, now);
    }
    print::table(columns, &rows)
}

fn add(rows: &mut Vec<[String; 10]>, actor: &ActorView, depth: usize, now: DateTime<Utc>) {
    rows.push([
        format!("{}{}", "  ".repeat(depth), harmless(&actor.name, false)),
        actor.state.as_str().to_owned(),
        actor.generation.to_string(),
        actor.restarts.to_string(),
        actor.in_flight.to_string(),
        actor.last_progress_at.map_or_else(absent, |at| span(now - at)),
        actor.offset.map_or_else(absent, |offset| offset.to_string()),
        seconds(actor.lag_seconds),
        actor.next_attempt_at.map_or_else(absent, |at| format!("in {}", span(at - now))),
        actor.cause.as_deref().map_or_else(absent, |cause| harmless(cause, false)),
    ]);
    for child in &actor.children {
        add(rows, child, depth + 1, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_below_their_group() {
        let tree = r#"{"actors": [
            {"name": "lease", "state": "running", "generation": 1, "restarts": 0, "since": "2026-01-01T00:00:00Z",
             "inFlight": 0, "lastProgressAt": "2026-01-01T00:00:05Z"},
            {"name": "partition/0", "state": "parked", "generation": 6, "restarts": 5, "since": "2026-01-01T00:00:00Z",
             "cause": "writer/0: no\u001bluck", "nextAttemptAt": "2026-01-01T00:05:00Z", "inFlight": 2, "offset": 17,
             "lagSeconds": 12.345, "children": [
                {"name": "writer/0", "state": "parked", "generation": 6, "restarts": 5, "since": "2026-01-01T00:00:00Z",
                 "inFlight": 2, "lastProgressAt": "2025-12-31T22:00:00Z"}]}]}"#;
        let tree: Tree = serde_json::from_str(tree).unwrap();
        let text = table(&tree.actors, "2026-01-01T00:00:10Z".parse().unwrap());
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["lease", "running", "1", "0", "0", "5s", "-", "-", "-", "-"]);
        assert_eq!(rows[2][..8], ["partition/0", "parked", "6", "5", "2", "-", "17", "12.3s"]);
        assert_eq!(rows[2][8..], ["in", "4m", "writer/0:", "no\\u{1b}luck"]);
        assert_eq!(rows[3], ["writer/0", "parked", "6", "5", "2", "2h", "-", "-", "-", "-"]);
        assert!(text.lines().nth(3).unwrap().starts_with("  writer/0"));
    }
}
