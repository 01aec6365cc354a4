//! `api-key`: creates, lists and revokes API keys, in the database itself: access to its password is the authorization.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use uuid::Uuid;

use crate::{
    auth::FreshKey,
    cli::{
        on_database, operator,
        print::{Column, absent, harmless, json, table, text, time},
    },
    config::Settings,
    domain::{
        api_key::{ApiKey, Created, KeyRole, KeyState, Revoked},
        audit::AuditEvent,
    },
    store::{PgConnection, access::api_keys},
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service api-key create --org 123e4567-e89b-12d3-a456-426614174000 --role producer --name gateway
  analytics-service api-key list --org 123e4567-e89b-12d3-a456-426614174000
  analytics-service api-key revoke --org 123e4567-e89b-12d3-a456-426614174000 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07";

/// Create, list and revoke API keys
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create a key and print it, once
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service api-key create --org 123e4567-e89b-12d3-a456-426614174000 --role finance --name billing --expires-at 2027-01-01T00:00:00Z"
)]
pub struct Create {
    /// Organisation that the key is for
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// org_viewer, org_admin, finance or producer
    #[arg(long, value_name = "ROLE")]
    role: KeyRole,
    /// What the key is for, at most 100 characters
    #[arg(long)]
    name: String,
    /// When it expires: at most five years from now; never without it
    #[arg(long, value_name = "TIME")]
    expires_at: Option<DateTime<Utc>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List an organisation's keys, newest first
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service api-key list --org 123e4567-e89b-12d3-a456-426614174000 --json")]
pub struct List {
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// At most this many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Only those older than this one: the last of an earlier list
    #[arg(long, value_name = "ID")]
    before: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a key: every running service refuses it within auth.api_key_cache_seconds
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service api-key revoke --org 123e4567-e89b-12d3-a456-426614174000 019e5c1a-7d1c-7c55-8d21-0c2f6a1b9e07"
)]
pub struct Revoke {
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    id: Uuid,
    /// Also revoke the keys that were created with it, and those that were created with these
    #[arg(long)]
    cascade: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    on_database(&settings.database, async |conn| match command {
        Command::Create(args) => create(args, settings.auth.api_keys_per_org, conn).await,
        Command::List(args) => list(args, conn).await,
        Command::Revoke(args) => revoke(args, conn).await,
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn act(action: &'static str, org_id: Uuid, key_id: Uuid) -> AuditEvent {
    operator::act(action).of_org(org_id).target(key_id)
}

async fn create(args: Create, most: u32, conn: &mut PgConnection) -> anyhow::Result<()> {
    let fresh = FreshKey::make()?;
    let body = serde_json::json!({"name": args.name, "role": args.role, "expiresAt": args.expires_at});
    let new = api_keys::NewKey {
        key_id: fresh.key_id,
        org_id: args.org,
        secret_sha256: fresh.secret_sha256,
        body: body.to_string().into(),
        parent: None,
        idempotency_key: None,
        by: operator::name(),
        act: act("api_key.create", args.org, fresh.key_id),
    };
    match api_keys::create(conn, &new, most).await? {
        Created::New(key) if args.json => {
            let mut shown = serde_json::to_value(&key)?;
            shown["key"] = fresh.text.expose().into();
            json(&shown)
        }
        Created::New(_) => text(fresh.text.expose()),
        Created::TooMany => {
            bail!(
                "the organisation has {most} active API keys, as many as it may (auth.api_keys_per_org): revoke one first"
            )
        }
        Created::Wrong(reasons) => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            bail!("{}", reasons.join("; "))
        }
        Created::Same(_) | Created::KeyTaken | Created::MakerEnded => {
            bail!("the database returned what was not requested")
        }
    }
}

async fn list(args: List, conn: &mut PgConnection) -> anyhow::Result<()> {
    let page = api_keys::list(conn, args.org, args.before, args.limit).await?;
    if args.json {
        let next = page.next();
        return json(&serde_json::json!({"apiKeys": page.entries, "nextBefore": next}));
    }
    let columns = ["ID", "STATE", "ROLE", "EXPIRES", "USED", "NAME"].map(Column::Text);
    text(&table(columns, &page.entries.iter().map(row).collect::<Vec<_>>()))?;
    if let Some(id) = page.next() {
        eprintln!("there are more: --before {id}");
    }
    Ok(())
}

fn row(key: &ApiKey) -> [String; 6] {
    let at = |moment: Option<DateTime<Utc>>| moment.map_or_else(absent, time);
    let (state, name) = (key.state.as_str().to_owned(), harmless(&key.name, false));
    [key.id.to_string(), state, key.role.to_string(), at(key.expires_at), at(key.last_used_at), name]
}

async fn revoke(args: Revoke, conn: &mut PgConnection) -> anyhow::Result<()> {
    let revocation = api_keys::Revocation {
        org_id: args.org,
        key_id: args.id,
        cascade: args.cascade,
        by: operator::name(),
        act: act("api_key.revoke", args.org, args.id),
    };
    let revoked = api_keys::revoke(conn, &revocation).await?;
    let Revoked { key, descendants } =
        revoked.with_context(|| format!("the organisation has no API key {}", args.id))?;
    if args.json {
        let mut shown = serde_json::to_value(&key)?;
        shown["descendants"] = serde_json::to_value(&descendants)?;
        return json(&shown);
    }
    text(&format!("{}: revoked", key.id))?;
    let active: Vec<&ApiKey> = descendants.iter().filter(|key| key.state == KeyState::Active).collect();
    for key in &descendants {
        text(&format!("{}: created with it, {} ({})", key.id, key.state.as_str(), harmless(&key.name, false)))?;
    }
    if !active.is_empty() {
        eprintln!("{} keys that were created with it are active: --cascade revokes them too", active.len());
    }
    Ok(())
}
