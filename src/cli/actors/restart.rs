//! `actors restart`: an operator's order to restart an actor.

use std::time::Duration;

use anyhow::Context;

use crate::{
    auth::{self, Caller, Credential, Role},
    cli::{client::Client, operator, print},
    config,
};

/// Restart an actor now, with all its restarts given back
///
/// The other actors of its group are restarted with it: those of a partition cannot be without each other. Nothing
/// is lost: reading goes on from the committed offset. The order and what comes of it are in `actors log`.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service actors restart writer/0")]
pub struct Args {
    /// As `actors list` has it
    name: String,
    /// Bearer token of an operator; without one, one is signed with auth.hs256_secret
    #[arg(long, env = "ANALYTICS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The request follows at once.
const TOKEN_LASTS: Duration = Duration::from_secs(60);

pub async fn run(args: Args, client: &Client, auth: &config::Auth) -> anyhow::Result<()> {
    let Args { name, token, json } = args;
    let token = match token {
        Some(token) => token,
        None => own_token(auth).context("give a token by --token or ANALYTICS_TOKEN, or the service's secret")?,
    };
    let response =
        client.post(&format!("/ops/actors/{name}/restart"), &token).await.and_then(|response| response.success());
    let response = response.with_context(|| format!("restarting {name}"))?;
    if json {
        return print::text(response.trim_end());
    }
    print::text(&format!("{name}: the restart is requested"))
}

fn own_token(auth: &config::Auth) -> Result<String, auth::IssueError> {
    let (subject, roles) = (operator::name(), vec![Role::Operator]);
    let caller = Caller { subject, org_ids: Vec::new(), roles, credential: Credential::Token, expires_at: None };
    auth::issue(auth, &caller, TOKEN_LASTS)
}
