//! `kura gc`: what nobody needs any more. Reports it and, asked to, removes it.
//!
//! An object is an orphan only when the listing of the database does not name
//! it although it was stored well before the listing was made: a row that is
//! committed after its upload must never cost the file.

mod sweep;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use clap::{Arg, ArgMatches, Command};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use self::sweep::{Found, Sweep, Trash};
use super::progress::{Progress, count};
use super::site::Site;
use super::{OperatorCommand, arguments, audit};
use crate::config::Values;
use crate::ops;
use crate::storage::holdings::Uploads;

/// The command.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

const MIN_AGE: &str = "24h";
/// What is younger may be under way.
const LEAST_AGE: Duration = Duration::from_mins(10);

fn describe() -> Command {
    Command::new("gc")
        .about("Finds objects that nobody needs any more, and removes them if told to")
        .after_help(
            "Found are expired imports, claims and unfinished uploads of processes that died, \
             and with --listing the files that no attachment has. Nothing is removed without \
             --remove. In a bucket with versions, what is removed leaves an old version.",
        )
        .args(arguments::tenant_or_all())
        .arg(
            arguments::listing(
                "Rows of attachments, as CSV or TSV, printed just now: finds orphans",
            )
            .conflicts_with("all"),
        )
        .arg(
            Arg::new("min-age")
                .long("min-age")
                .value_name("TIME")
                .default_value(MIN_AGE)
                .value_parser(min_age)
                .help("Leave what is younger, such as 24h or 7days; 10min at least"),
        )
        .arg(arguments::switch("remove", "Remove what is found"))
        .arg(arguments::switch(
            "force",
            "Remove orphans even if they are more than half of all files",
        ))
        .arg(arguments::json())
}

fn min_age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    (age >= LEAST_AGE)
        .then_some(age)
        .ok_or_else(|| "must be 10min or more: uploads may be under way".to_owned())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        let tenants = arguments::tenants_of(matches, &site)?;
        let listing = arguments::listing_of(matches).await?;
        let min_age: Duration = matches.get_one("min-age").copied().unwrap_or_default();
        let (remove, force) = (matches.get_flag("remove"), matches.get_flag("force"));
        let progress = Progress::new("looking");
        // Tenants that share a folder for imports share what is in it.
        let mut shared = BTreeSet::new();
        let mut reports = Vec::new();
        let (mut objects, mut is_clean) = (0, true);
        let (mut refused, mut hidden) = (false, false);
        for tenant in &tenants {
            let sweep = Sweep {
                holdings: site.holdings(tenant)?,
                listing: listing.clone(),
                now: SystemTime::now(),
                min_age,
                import_ttl: site.deployment.config().import_ttl,
            };
            let areas = sweep.holdings.shared().into_iter();
            let areas = areas.filter(|it| shared.insert((tenant.bucket.clone(), it.clone())));
            let areas: Vec<_> = areas.chain([sweep.holdings.own()]).collect();
            let found = sweep.look(&areas, &progress).await?;
            let why_not = found.why_not(listing.as_deref()).filter(|_| !force);
            objects += found.objects;
            is_clean &= found.is_empty();
            hidden |= found.uploads == Some(Uploads::Hidden);
            refused |= remove && why_not.is_some();
            let removed = remove && why_not.is_none() && !found.is_empty();
            if removed {
                sweep.remove(&areas).await?;
                audit::record("gc", &tenant.id, found.counts());
            }
            if !matches.get_flag("json") {
                print(tenant.id.as_str(), &found, removed);
                if let Some(why) = &why_not {
                    println!("  {why}");
                }
            }
            reports.push(json!({
                "tenant": tenant.id.as_str(), "found": found.counts(),
                "orphans": found.orphans, "removed": removed, "not_removed_because": why_not,
            }));
        }
        drop(progress);
        if matches.get_flag("json") {
            println!("{}", serde_json::to_string_pretty(&reports)?);
        } else {
            if is_clean {
                println!("nothing to remove");
            }
            println!(
                "{} looked at, of {}",
                count(objects, "object"),
                count(tenants.len() as u64, "tenant"),
            );
        }
        if hidden {
            eprintln!(
                "kura: unfinished uploads were left out: {}",
                Uploads::WHY_HIDDEN
            );
        }
        if refused {
            bail!("orphans were not removed; --force would");
        }
        Ok(())
    })
}

/// Only those are worth a line that have something.
fn print(tenant: &str, found: &Found, removed: bool) {
    if found.is_empty() {
        return;
    }
    let what = if removed {
        "removed"
    } else {
        "could be removed"
    };
    println!("{tenant}: {what}, of {} objects", HumanCount(found.objects));
    for trash in Trash::ALL {
        let (count, bytes) = found.of(trash);
        if count > 0 {
            let count = HumanCount(count).to_string();
            println!(
                "  {trash:20}{count:>10}  {:>12}",
                HumanBytes(bytes).to_string()
            );
        }
    }
    for key in &found.orphans {
        println!("    {}", key.escape_debug());
    }
}
