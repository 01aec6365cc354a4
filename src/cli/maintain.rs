//! `maintain`: creates chunks ahead, maintains compression, and shows how large everything is.

use std::process::ExitCode;

use crate::{
    cli::{
        maintenance::{self, Common, Summary},
        print::{Column, absent, table, time},
    },
    config::Settings,
    store::lifecycle::{
        maintain::{self, Maintained, Rules, TableFigures},
        maintenance::Access,
    },
};

/// Create the chunks of the next days, schedule compression, and show how large the tables are
///
/// The service does the same by itself when it was not done for maintenance.maintain_minutes. Compression takes TimescaleDB's
/// Community edition; scheduling it again, after maintenance.compress_after_days was changed, takes database.migration_url.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service maintain --json")]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

impl Summary for Maintained {
    fn line(&self) -> String {
        let raw = &self.figures.raw;
        let row = |t: &TableFigures| {
            let share = format!("{:.1} %", t.dead_share * 100.0);
            let vacuumed = t.last_vacuum.map_or_else(absent, time);
            [t.name.clone(), t.bytes.to_string(), t.rows.to_string(), t.dead_rows.to_string(), share, vacuumed]
        };
        let columns = [
            Column::Text("TABLE"),
            Column::Number("BYTES"),
            Column::Number("ROWS"),
            Column::Number("DEAD"),
            Column::Number("SHARE"),
            Column::Text("LAST VACUUM"),
        ];
        format!(
            "chunks created: {}\ncompression: {}\nbackground jobs: {}{}\nrollups: {}\nhours of organisations summed: {}, by client and error code: {}\nattribution: {}\nraw events: {} bytes in {} chunks, the oldest of {}; {} bytes in \
             {} compressed ones\n{}",
            self.chunks_made,
            self.compression,
            self.jobs,
            self.overdue_jobs_run.iter().map(|done| format!("\n{done}")).collect::<String>(),
            self.engine_advice,
            self.org_hours_summed,
            self.org_hours_by_summed,
            self.attribution_sizes.line(),
            raw.bytes,
            raw.chunks,
            raw.oldest.map_or_else(absent, time),
            raw.compressed_bytes,
            raw.compressed_chunks,
            table(columns, &self.figures.tables.iter().map(row).collect::<Vec<_>>()),
        )
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let rules = Rules::of(&settings);
    maintenance::run(&settings, &args.common, maintain::TASK, Access::Alone, async |turn, steps| {
        Ok(maintain::maintain(&mut turn.conn, &rules, &mut |step| steps.report(step)).await?)
    })
    .await
}
