//! `kura tenant usage`: how many objects and bytes a tenant has, by kind. Exact,
//! from the pages of listings: with S3 one request for a thousand objects.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use clap::{ArgMatches, Command};
use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut, stream};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use serde_json::json;

use crate::config::Values;
use crate::key::Kind;
use crate::ops::progress::Progress;
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand, arguments};
use crate::storage::StoreError;
use crate::storage::holdings::{Area, Holdings};
use crate::storage::remains::VersionKind;

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

/// How many tenants are looked at at once.
const PARALLEL: usize = 16;

fn describe() -> Command {
    Command::new("usage")
        .about("Counts a tenant's objects and bytes, by kind")
        .args(arguments::tenant_or_all())
        .arg(arguments::switch(
            "versions",
            "Count old versions and delete markers, too",
        ))
        .arg(arguments::json())
}

/// Objects, and their bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Count {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// What is in some folders.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    pub(super) kinds: BTreeMap<Kind, Count>,
    pub(super) old_versions: Count,
    pub(super) delete_markers: u64,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            self.kinds.entry(*kind).or_default().add(*count);
        }
        self.old_versions.add(other.old_versions);
        self.delete_markers += other.delete_markers;
    }

    pub(super) fn of(&self, kind: Kind) -> Count {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> Count {
        let mut total = Count::default();
        self.kinds.values().for_each(|count| total.add(*count));
        total
    }

    /// A line for each kind and for all, and with `versions` what is kept of
    /// what is gone.
    pub(super) fn print(&self, versions: bool) {
        let line = |what: &str, count: Count| println!("  {what:20}{}", cell(count));
        for kind in Kind::ALL {
            line(&kind.to_string(), self.of(kind));
        }
        line("total", self.total());
        if versions {
            line("old versions", self.old_versions);
            let markers = HumanCount(self.delete_markers).to_string();
            println!("  {:20}{markers:>12}", "delete markers");
        }
    }

    pub(super) fn json(&self, versions: bool) -> serde_json::Map<String, serde_json::Value> {
        let kinds = Kind::ALL.map(|kind| (kind.to_string(), json!(self.of(kind))));
        let mut all: serde_json::Map<_, _> = kinds.into_iter().collect();
        all.insert("total".to_owned(), json!(self.total()));
        if versions {
            all.insert("old_versions".to_owned(), json!(self.old_versions));
            all.insert("delete_markers".to_owned(), json!(self.delete_markers));
        }
        all
    }
}

/// Counts what is in a folder, `versions` too or only what readers see.
pub(super) async fn count(
    holdings: &Holdings,
    area: &Area,
    versions: bool,
    progress: &Progress,
) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    if !versions {
        let pages = holdings.objects(area);
        pin_mut!(pages);
        while let Some(page) = pages.try_next().await? {
            progress.add(
                page.len() as u64,
                page.iter().map(|held| held.it.size_bytes).sum(),
            );
            for held in page {
                let bytes = held.it.size_bytes;
                let count = usage.kinds.entry(held.kind).or_default();
                count.add(Count { objects: 1, bytes });
            }
        }
        return Ok(usage);
    }
    let pages = holdings.versions(area);
    pin_mut!(pages);
    while let Some(page) = pages.try_next().await? {
        progress.add(
            page.len() as u64,
            page.iter().map(|held| held.it.size_bytes).sum(),
        );
        for held in page {
            let count = Count {
                objects: 1,
                bytes: held.it.size_bytes,
            };
            match held.it.kind {
                VersionKind::Current => usage.kinds.entry(held.kind).or_default().add(count),
                VersionKind::Old => usage.old_versions.add(count),
                VersionKind::DeleteMarker => usage.delete_markers += 1,
            }
        }
    }
    Ok(usage)
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        let versions = matches.get_flag("versions");
        let mut folders = Vec::new();
        let mut seen = BTreeSet::new();
        for tenant in arguments::tenants_of(matches, &site)? {
            let holdings = site.holdings(&tenant)?;
            for area in holdings.shared() {
                if seen.insert((tenant.bucket.clone(), area.clone())) {
                    let name = format!("shared {}/{}", tenant.bucket, area.prefix());
                    folders.push((name, holdings.clone(), area));
                }
            }
            let own = holdings.own();
            folders.push((tenant.id.to_string(), holdings, own));
        }
        let progress = Progress::new("counting");
        let counts = folders.into_iter().map(|(name, holdings, area)| {
            let progress = &progress;
            async move {
                let usage = count(&holdings, &area, versions, progress).await?;
                Ok::<_, StoreError>((name, area, usage))
            }
        });
        let counts: Vec<_> = stream::iter(counts)
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        drop(progress);
        if matches.get_flag("json") {
            let all = counts.iter().map(|(name, area, usage)| {
                let mut row = usage.json(versions);
                let whose = if area.is_shared() {
                    "shared_folder"
                } else {
                    "tenant"
                };
                row.insert(whose.to_owned(), json!(name.trim_start_matches("shared ")));
                row
            });
            println!(
                "{}",
                serde_json::to_string_pretty(&all.collect::<Vec<_>>())?
            );
        } else if let [(name, _, usage)] = &counts[..] {
            println!("{name}");
            usage.print(versions);
        } else {
            print(&counts, versions);
        }
        Ok(())
    })
}

fn print(counts: &[(String, Area, Usage)], versions: bool) {
    let widths = counts.iter().map(|(name, ..)| name.len());
    let width = widths.max().unwrap_or(0).max(6);
    let mut titles: Vec<_> = Kind::ALL.map(|kind| kind.to_string().to_uppercase()).into();
    titles.push("TOTAL".to_owned());
    titles.extend(versions.then(|| "OLD".to_owned()));
    let titles = titles.iter().map(|title| format!("{title:>12}{:13}", ""));
    let titles: String = titles
        .chain(versions.then(|| "     DELETED".to_owned()))
        .collect();
    println!("{:width$}{}", "TENANT", titles.trim_end());
    let line = |name: &str, usage: &Usage| {
        let kinds = Kind::ALL.map(|kind| usage.of(kind)).into_iter();
        let cells = kinds.chain([usage.total()]);
        let mut cells: Vec<_> = cells
            .chain(versions.then_some(usage.old_versions))
            .map(cell)
            .collect();
        cells.extend(
            versions.then(|| format!("{:>12}", HumanCount(usage.delete_markers).to_string())),
        );
        println!("{name:width$}{}", cells.concat());
    };
    let mut sum = Usage::default();
    for (name, _, usage) in counts {
        line(name, usage);
        sum.add(usage);
    }
    if counts.len() > 1 {
        line("total", &sum);
    }
}

pub(super) fn cell(count: Count) -> String {
    let objects = HumanCount(count.objects).to_string();
    format!("{objects:>12}{:>13}", HumanBytes(count.bytes).to_string())
}
