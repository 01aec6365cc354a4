//! `token`: signs a bearer token with the configured secret.

use std::{process::ExitCode, time::Duration};

use uuid::Uuid;

use crate::{
    auth::{self, Caller, Credential, Role},
    cli::{bad_usage, lifetime},
    config::Settings,
};

/// Print a bearer token for the API, signed with auth.hs256_secret
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service token --org 123e4567-e89b-12d3-a456-426614174000 --role finance --ttl 8h"
)]
pub struct Args {
    /// Organisation that the token is for; may be given more than once, and left out for an operator or a
    /// system_admin
    #[arg(long = "org", value_name = "UUID")]
    orgs: Vec<Uuid>,
    /// org_viewer, org_admin, finance, producer, system_admin or operator; may be given more than once
    #[arg(long = "role", value_name = "ROLE", default_value = "org_viewer")]
    roles: Vec<Role>,
    /// The token's subject (sub)
    #[arg(long, default_value = "command-line")]
    subject: String,
    /// How long it is valid: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime::parse)]
    ttl: Duration,
}

pub fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let of_no_org = |role: &Role| matches!(role, Role::Operator | Role::SystemAdmin);
    if args.orgs.is_empty() && !args.roles.iter().all(of_no_org) {
        return Ok(bad_usage("--org is required: of all roles only operator and system_admin need none"));
    }
    let Args { subject, orgs: org_ids, roles, ttl } = args;
    let caller = Caller { subject, org_ids, roles, credential: Credential::Token, expires_at: None };
    println!("{}", auth::issue(&settings.auth, &caller, ttl)?);
    Ok(ExitCode::SUCCESS)
}
