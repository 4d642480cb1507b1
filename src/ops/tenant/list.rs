//! `kura tenant list`: all tenants, and the files that cannot be used.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use crate::config::Values;
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand, table};
use crate::tenant::settings::document;
use crate::tenant::{State, TenantSettings};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

fn describe() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("list")
        .about("Lists all tenants, and the files that cannot be used")
        .after_help("Exits with 1 when a file cannot be used.")
        .arg(json.help("Print the list as JSON"))
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        if matches.get_flag("json") {
            println!("{:#}", in_json(&site));
        } else {
            print(&site)?;
        }
        match site.broken.len() {
            0 => Ok(()),
            1 => bail!("1 file cannot be used"),
            broken => bail!("{broken} files cannot be used"),
        }
    })
}

/// The state's word in the file.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Suspended => "suspended",
    }
}

fn sub_domain(site: &Site, tenant: &TenantSettings) -> Option<String> {
    let (_, file) = site.file(tenant.id.as_str())?;
    let document = document(&file.text).ok()?;
    Some(document.at("property.sub_domain")?.text()?.to_owned())
}

fn in_json(site: &Site) -> Value {
    let tenant = |tenant: &TenantSettings| {
        json!({
            "id": tenant.id,
            "state": word(tenant.state),
            "bucket": tenant.bucket,
            "folder": tenant.layout.folder(),
            "sub_domain": sub_domain(site, tenant),
        })
    };
    let broken = |(stem, reason): &(String, String)| json!({"id": stem, "reason": reason});
    json!({
        "tenants": site.tenants().iter().map(tenant).collect::<Value>(),
        "broken": site.broken.iter().map(broken).collect::<Value>(),
    })
}

fn print(site: &Site) -> Result<()> {
    let mut rows = vec![["TENANT", "STATE", "BUCKET", "FOLDER", "SUB_DOMAIN"].map(str::to_owned)];
    rows.extend(site.tenants().iter().map(|tenant| {
        [
            tenant.id.to_string(),
            word(tenant.state).to_owned(),
            tenant.bucket.clone(),
            tenant.layout.folder().to_owned(),
            sub_domain(site, tenant).unwrap_or_default(),
        ]
    }));
    table::print(&rows)?;
    if site.broken.is_empty() {
        return Ok(());
    }
    println!();
    let mut rows = vec![["BROKEN", "REASON"].map(str::to_owned)];
    rows.extend(
        site.broken
            .iter()
            .map(|(stem, why)| [stem.clone(), why.clone()]),
    );
    Ok(table::print(&rows)?)
}
