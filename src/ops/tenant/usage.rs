//! `kura tenant usage`: how many objects and bytes a tenant has, by kind. Exact,
//! from the pages of listings: with S3 one request for a thousand objects.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

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
            for held in page {
                progress.add(1, held.it.size_bytes);
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
        for held in page {
            progress.add(1, held.it.size_bytes);
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
                    folders.push((name, holdings.clone(), area, None));
                }
            }
            let own = holdings.own();
            folders.push((tenant.id.to_string(), holdings, own, tenant.quota_bytes));
        }
        let progress = Progress::new("counting");
        let counts = folders
            .into_iter()
            .map(|(name, holdings, area, quota_bytes)| {
                let progress = &progress;
                async move {
                    let usage = count(&holdings, &area, versions, progress).await?;
                    let counted = Counted {
                        name,
                        area,
                        usage,
                        quota_bytes,
                    };
                    Ok::<_, StoreError>(counted)
                }
            });
        let counts: Vec<_> = stream::iter(counts)
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        drop(progress);
        if matches.get_flag("json") {
            let all = counts.iter().map(|counted| {
                let mut row = counted.usage.json(versions);
                if let Some(quota_bytes) = counted.quota_bytes {
                    row.insert("quota_bytes".to_owned(), json!(quota_bytes));
                }
                let name = &counted.name;
                let whose = if counted.area.is_shared() {
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
        } else if let [only] = &counts[..] {
            println!("{}", only.name);
            only.usage.print(versions);
            if has_quota(only) {
                println!("  {:20}{}", "files of quota", of_quota(only));
            }
        } else {
            print(&counts, versions);
        }
        Ok(())
    })
}

/// A folder, counted.
struct Counted {
    name: String,
    area: Area,
    usage: Usage,
    quota_bytes: Option<NonZeroU64>,
}

fn print(counts: &[Counted], versions: bool) {
    let widths = counts.iter().map(|counted| counted.name.len());
    let width = widths.max().unwrap_or(0).max(6);
    let mut titles: Vec<_> = Kind::ALL.map(|kind| kind.to_string().to_uppercase()).into();
    titles.push("TOTAL".to_owned());
    titles.extend(versions.then(|| "OLD".to_owned()));
    let titles = titles.iter().map(|title| format!("{title:>12}{:13}", ""));
    let titles: String = titles
        .chain(versions.then(|| "     DELETED".to_owned()))
        .chain(
            counts
                .iter()
                .any(has_quota)
                .then(|| "  FILES OF QUOTA".to_owned()),
        )
        .collect();
    println!("{:width$}{}", "TENANT", titles.trim_end());
    let line = |name: &str, usage: &Usage, quota: &str| {
        let kinds = Kind::ALL.map(|kind| usage.of(kind)).into_iter();
        let cells = kinds.chain([usage.total()]);
        let mut cells: Vec<_> = cells
            .chain(versions.then_some(usage.old_versions))
            .map(cell)
            .collect();
        cells.extend(
            versions.then(|| format!("{:>12}", HumanCount(usage.delete_markers).to_string())),
        );
        println!("{name:width$}{}{quota}", cells.concat());
    };
    let mut sum = Usage::default();
    for counted in counts {
        line(&counted.name, &counted.usage, &of_quota(counted));
        sum.add(&counted.usage);
    }
    if counts.len() > 1 {
        line("total", &sum, "");
    }
}

fn has_quota(counted: &Counted) -> bool {
    counted.quota_bytes.is_some()
}

fn of_quota(counted: &Counted) -> String {
    let used = u128::from(counted.usage.of(Kind::File).bytes);
    let share = |quota: NonZeroU64| {
        let percent = used * 100 / u128::from(quota.get());
        format!("  {percent:>5} % of {}", HumanBytes(quota.get()))
    };
    counted.quota_bytes.map(share).unwrap_or_default()
}

pub(super) fn cell(count: Count) -> String {
    let objects = HumanCount(count.objects).to_string();
    format!("{objects:>12}{:>13}", HumanBytes(count.bytes).to_string())
}
