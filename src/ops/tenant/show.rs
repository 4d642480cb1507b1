//! `kura tenant show`: one tenant's settings, and what its file says besides.

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::list::word;
use super::masked::{in_a_line, shown};
use crate::config::Values;
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand, arguments, table};
use crate::tenant::settings::edit::contents;
use crate::tenant::{TenantId, TenantSettings};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

fn describe() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("show")
        .about("Shows a tenant's settings, without secrets")
        .arg(arguments::tenant())
        .arg(json.help("Print them as JSON"))
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let id: &TenantId = matches.get_one("tenant").context("no tenant is named")?;
    ops::run(values, async {
        let site = Site::open(values).await?;
        let tenant = site.tenant(id);
        let file = site.file(id.as_str());
        if file.is_none() && tenant.is_err() {
            return tenant.map(drop);
        }
        let mut facts = Vec::new();
        let mut settings = Vec::new();
        if let Some((name, file)) = file {
            settings.extend(shown(&contents(&file.text).context(name.clone())?));
            facts.extend([("file", json!(name)), ("version", json!(file.version))]);
        }
        facts.extend(tenant.iter().flat_map(in_force));
        if matches.get_flag("json") {
            let all = facts.into_iter();
            let mut all: Map<_, _> = all.map(|(name, fact)| (name.to_owned(), fact)).collect();
            all.insert("id".to_owned(), json!(id));
            all.insert("settings".to_owned(), settings.into_iter().collect());
            println!("{:#}", Value::Object(all));
        } else {
            let facts = facts.into_iter();
            let facts = facts.map(|(name, fact)| [name.to_owned(), in_a_line(Some(&fact))]);
            table::print(&facts.collect::<Vec<_>>())?;
            if !settings.is_empty() {
                println!();
            }
            let rows = settings.into_iter();
            let rows = rows.map(|(key, value)| [key, in_a_line(Some(&value))]);
            table::print(&rows.collect::<Vec<_>>())?;
        }
        tenant.map(drop)
    })
}

/// What the server makes of the file, or of the environment.
fn in_force(tenant: &TenantSettings) -> [(&'static str, Value); 6] {
    [
        ("state", json!(word(tenant.state))),
        ("bucket", json!(tenant.bucket)),
        ("folder", json!(tenant.layout.folder())),
        ("thumbnails", json!(tenant.layout.thumb_folder())),
        ("imports", json!(tenant.layout.import_folder())),
        ("quota_bytes", json!(tenant.quota_bytes)),
    ]
}
