//! `partitions reopen`: the way out of what a clock that stood ahead leaves.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use crate::{
    cli::{
        bad_usage, confirm, fitting_session, operator,
        print::{self, time},
    },
    config::Settings,
    store::rollups::reopen::{self, Reopened, Reopening},
};

const LONG_ABOUT: &str = "\
Open hours again that only a clock ahead has closed

While the database's clock stood ahead, hours may have been called final that have not begun. The watermarks are
corrected by themselves; but what changes such an hour goes on being a revision, so until real time has caught up
every merge writes revisions. This opens the hours again that have not begun yet. An hour that has begun stays
closed until it is final by itself.

A client that read meanwhile that such an hour was final (in a response or an export whose range reached into the future)
will see it change without a revision. Your name is on record.";

/// Open hours again that only a clock ahead has closed
#[derive(clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = "Example: analytics-service partitions reopen --yes")]
pub struct Args {
    /// Do not ask; required without a terminal
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if !args.yes && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    confirm::agreed(args.yes, "Is the clock right, and did no reader see hours that have not begun?")?;
    let mut session = fitting_session(settings.database).await?;
    let topology = super::topology(&mut session, &settings.broker).await?;
    let late_after = settings.events.late_after();
    let by_whom = operator::name();
    let done = session.run(async |conn| reopen::reopen(conn, &topology, late_after, &by_whom).await).await?;
    let reopened = match done {
        Reopening::Done(reopened) => reopened,
        Reopening::StillAhead(streams) => bail!(
            "the watermark of {} lies ahead of the clock itself: run the service until it has corrected that \
             (`partitions list`), then this again",
            streams.join(", ")
        ),
    };
    if args.json {
        print::json(&json!({ "reopened": reopened }))?;
    } else if reopened.is_empty() {
        print::text("no hour is closed that has not begun")?;
    } else {
        print::text(&reopened.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(one: &Reopened) -> String {
    let Reopened { stream, closed_to, now_to } = one;
    format!("{stream}: hours were closed as if it were {}, and are as if it were {}", time(*closed_to), time(*now_to))
}
