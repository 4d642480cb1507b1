//! `kura tenant delete`: erases all that a tenant has, old versions included.
//!
//! Without `--confirm` it only counts. With it, the record of what is there is
//! written first and completed last, so that whoever goes on after a kill still
//! tells of all that was erased. Everything is erased in an order in which each
//! step can be done again.

mod erase;
mod file;
mod record;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::HumanCount;
use serde_json::json;

use self::erase::Eraser;
use self::file::OwnFile;
use self::record::Record;
use super::usage::{self, Usage};
use crate::config::Values;
use crate::ops::progress::Progress;
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand, arguments, audit};
use crate::storage::holdings::{Holdings, Uploads};
use crate::tenant::{State, TenantId, TenantSettings};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

fn describe() -> Command {
    Command::new("delete")
        .about("Counts all that a tenant has and, confirmed, erases it for good")
        .after_help(
            "Suspend the tenant first, and see that it was exported if it may be wanted back. \
             It waits until servers must have seen that the tenant is suspended, and stops when \
             the tenant's file is changed meanwhile. Interrupted, the same command goes on. The \
             database is not touched.",
        )
        .arg(arguments::tenant())
        .arg(
            Arg::new("confirm")
                .long("confirm")
                .value_name("TENANT")
                .value_parser(value_parser!(TenantId))
                .help("Erase it: the tenant's id once more"),
        )
        .arg(arguments::switch(
            "even-active",
            "Erase it although it is not suspended",
        ))
        .arg(arguments::switch(
            "keep-file",
            "Leave the tenant's settings file",
        ))
        .arg(
            Arg::new("record")
                .long("record")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Where the record of what was erased is written [default: \
                     erased-TENANT.json beside the tenants' files]",
                ),
        )
        .arg(arguments::json())
        .args(audit::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        let tenant = arguments::tenant_of(matches, &site)?;
        let confirmed = matches.get_one::<TenantId>("confirm");
        if let Some(confirmed) = confirmed {
            ensure!(
                *confirmed == tenant.id,
                "--confirm names tenant {confirmed}, not {}",
                tenant.id
            );
            ensure!(
                tenant.state == State::Suspended || matches.get_flag("even-active"),
                "the tenant is active: suspend it first (`kura tenant suspend {}`), or give \
                 --even-active",
                tenant.id
            );
        }
        let holdings = site.holdings(&tenant)?;
        let file = OwnFile::of(&site, &tenant.id)?;
        if let Some(file) = &file
            && confirmed.is_some()
            && tenant.state == State::Suspended
        {
            file.settle().await;
        }
        let progress = Progress::new("counting");
        let found = Estate::count(&holdings, &progress).await?;
        drop(progress);
        if confirmed.is_none() {
            if matches.get_flag("json") {
                println!("{}", serde_json::to_string_pretty(&found.json())?);
            } else {
                found.print(&tenant);
                println!(
                    "Nothing was erased. `--confirm {}` erases all of it.",
                    tenant.id
                );
            }
            return Ok(());
        }
        // To count may have taken long.
        if let Some(file) = &file {
            file.check().await?;
        }
        let source = site.deployment.tenant_source()?;
        let record = matches.get_one::<PathBuf>("record").cloned();
        let mut record = Record::begin(record, source.as_deref(), &tenant, &found).await?;
        let eraser = Eraser {
            holdings: &holdings,
            store: site.open_tenant(&tenant)?.store,
            file: file.as_ref(),
        };
        let progress = Progress::new("erasing");
        let left = eraser.erase(&progress).await?;
        drop(progress);
        record.end(source.as_deref(), left).await?;
        let file = file.filter(|_| !matches.get_flag("keep-file"));
        // Whatever becomes of the file.
        audit::record(matches, "delete", &tenant.id, {
            let mut details = record.erased().clone();
            details.insert("with_file".to_owned(), json!(file.is_some()));
            details
        });
        if let Some(file) = &file {
            file.remove().await?;
        }
        println!("{}", record.text());
        eprintln!("The record is {}.", record.place());
        Ok(())
    })
}

/// All that a tenant has.
struct Estate {
    usage: Usage,
    /// `None` when they may not be listed.
    unfinished_uploads: Option<u64>,
    shared_folders: Vec<String>,
}

impl Estate {
    async fn count(holdings: &Holdings, progress: &Progress) -> Result<Self> {
        let usage = usage::count(holdings, &holdings.own(), true, progress).await?;
        let mut unfinished_uploads = 0;
        let uploads = holdings.each_upload(async |_| {
            unfinished_uploads += 1;
            Ok(())
        });
        let uploads = uploads.await?;
        let shared = holdings.shared();
        let shared_folders = shared.iter().map(|area| area.prefix().to_owned());
        Ok(Self {
            usage,
            unfinished_uploads: (uploads == Uploads::Seen).then_some(unfinished_uploads),
            shared_folders: shared_folders.collect(),
        })
    }

    fn is_empty(&self) -> bool {
        let usage = &self.usage;
        let objects = usage.total().objects + usage.old_versions.objects + usage.delete_markers;
        objects + self.unfinished_uploads.unwrap_or(0) == 0
    }

    fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = self.usage.json(true);
        let uploads = json!(self.unfinished_uploads);
        all.insert("unfinished_uploads".to_owned(), uploads);
        all
    }

    fn print(&self, tenant: &TenantSettings) {
        let folder = match tenant.layout.folder() {
            "" => "the whole bucket",
            folder => folder,
        };
        println!("tenant {}: bucket {}, {folder}", tenant.id, tenant.bucket);
        self.usage.print(true);
        let uploads = match self.unfinished_uploads {
            Some(uploads) => HumanCount(uploads).to_string(),
            None => "unknown".to_owned(),
        };
        println!("  {:20}{uploads:>12}", "unfinished uploads");
        if self.unfinished_uploads.is_none() {
            println!("  {}", Uploads::WHY_HIDDEN);
        }
        for folder in &self.shared_folders {
            println!(
                "  {folder} may be other tenants' as well: of what is in it only thumbnails of \
                 this tenant's files are erased"
            );
        }
    }
}
