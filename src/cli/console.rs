//! `console`: links by which somebody signs in to the console once. Access to the database's password is the authorization.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use uuid::Uuid;

use crate::{
    auth::{Role, console::FreshSecret},
    cli::{bad_usage, lifetime, on_database, operator, print::text},
    config::Settings,
    domain::console::ConsolePort,
    store::access::console::{NewLink, add_link},
};

/// A link is sent to somebody, and lies in the history of a browser until it is used.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Longest name of somebody.
const MAX_SUBJECT: usize = 200;

/// Print links that sign somebody in to the console
#[derive(Subcommand)]
pub enum Command {
    Link(Link),
}

/// Print a link to the console that signs somebody in, once
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service console link --org 123e4567-e89b-12d3-a456-426614174000 --role org_admin --role finance --ttl 1h"
)]
pub struct Link {
    /// Organisation that the link is for; may be given more than once, and left out for an operator or a system_admin
    #[arg(long = "org", value_name = "UUID")]
    orgs: Vec<Uuid>,
    /// org_viewer, org_admin, finance, producer, system_admin or operator; may be given more than once
    #[arg(long = "role", value_name = "ROLE", default_value = "org_viewer")]
    roles: Vec<Role>,
    /// Whose console: api, or operations, which needs the role operator
    #[arg(long, value_name = "PORT", default_value = "api")]
    port: ConsolePort,
    /// Who it is for, as records name them: 1 to 200 characters. Without it, who prints it: command-line/ and the variable USER
    #[arg(long, value_name = "NAME", value_parser = subject)]
    subject: Option<String>,
    /// How long the link is good until it is used: a number and s, m, h or d, at most 1d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = lifetime::parse)]
    ttl: Duration,
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let Command::Link(Link { orgs, roles, port, subject, ttl }) = command;
    let of_no_org = |role: &Role| matches!(role, Role::Operator | Role::SystemAdmin);
    if orgs.is_empty() && !roles.iter().all(of_no_org) {
        return Ok(bad_usage("--org is required: of all roles only operator and system_admin need none"));
    }
    if port == ConsolePort::Operations && !roles.contains(&Role::Operator) {
        return Ok(bad_usage("--port operations needs --role operator"));
    }
    if ttl > LONGEST {
        return Ok(bad_usage("--ttl may be 1d at most"));
    }
    let secret = FreshSecret::generate()?;
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let act = operator::act("console.link").of_org(orgs.first().copied()).target(port).detail(names.join(", "));
    let new = NewLink {
        sha256: secret.sha256,
        port,
        subject: subject.unwrap_or_else(operator::name),
        org_ids: orgs,
        roles: names.into_iter().map(str::to_owned).collect(),
        lasts: ttl,
        act,
    };
    on_database(&settings.database, async |conn| Ok(add_link(conn, &new).await?)).await?;
    // Behind `#`: a browser sends that to no server, so no log has it.
    text(&format!("{}/console/sign-in#link={}", settings.console_url(port), secret.text.expose()))?;
    Ok(ExitCode::SUCCESS)
}

fn subject(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_SUBJECT).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {MAX_SUBJECT} characters in one line")) }
}
