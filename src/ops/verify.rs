//! `kura verify`: reads a tenant's files as they are stored, and compares them
//! with the digests kept with them and with those of the database.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::HumanBytes;
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use super::listing::{Listing, Row};
use super::progress::{Progress, count};
use super::site::Site;
use super::{OperatorCommand, arguments};
use crate::config::Values;
use crate::key::{FileKey, ObjectKey};
use crate::ops;
use crate::storage::scoped::{self, TenantStore, TenantStoreError};
use crate::storage::{GetOptions, StoreError};
use crate::tenant::TenantSettings;

/// The command.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

const FILES_A_PAGE: usize = 1000;

fn describe() -> Command {
    Command::new("verify")
        .about("Reads stored files, and compares their digests and sizes")
        .after_help(
            "Every file is read whole: with S3 that is a GET each, and the traffic. Exit code 1 \
             when a file is damaged, missing or cannot be read; one without a digest, from \
             another program, is only told.",
        )
        .args(arguments::tenant_or_all())
        .arg(
            arguments::listing(
                "Rows of attachments, as CSV or TSV: their digests and sizes, and what is missing",
            )
            .conflicts_with("all"),
        )
        .arg(
            Arg::new("sample")
                .long("sample")
                .value_name("PERCENT")
                .default_value("100")
                .value_parser(value_parser!(u8).range(1..=100))
                .help("Read only so many of a hundred files, others each time"),
        )
        .arg(arguments::parallel("8"))
        .arg(arguments::json())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        let tenants = arguments::tenants_of(matches, &site)?;
        let listing = arguments::listing_of(matches).await?;
        let progress = Progress::new("verifying");
        let mut reports = Vec::new();
        for tenant in &tenants {
            let audit = Arc::new(Audit {
                store: site.open_tenant(tenant)?.store,
                listing: listing.clone(),
            });
            let sample = Sample {
                percent: matches.get_one("sample").copied().unwrap_or(100),
                chance: RandomState::new(),
            };
            let parallel = arguments::parallel_of(matches);
            reports.push(report(&audit, tenant, &sample, parallel, &progress).await?);
        }
        drop(progress);
        if matches.get_flag("json") {
            println!("{}", serde_json::to_string_pretty(&reports)?);
        } else {
            reports.iter().for_each(print);
        }
        let wrong: usize = reports.iter().map(|report| report.wrong.len()).sum();
        if !matches.get_flag("json") && reports.len() > 1 {
            println!(
                "in all: {} of {}, {} read, {wrong} wrong",
                count(reports.iter().map(|report| report.files).sum(), "file"),
                count(reports.len() as u64, "tenant"),
                HumanBytes(reports.iter().map(|report| report.bytes).sum()),
            );
        }
        match wrong {
            0 => Ok(()),
            1 => bail!("1 file is not as it should be"),
            wrong => bail!("{wrong} files are not as they should be"),
        }
    })
}

/// Which files are read.
struct Sample {
    percent: u8,
    chance: RandomState,
}

impl Sample {
    fn has(&self, key: &FileKey) -> bool {
        self.chance.hash_one(key) % 100 < u64::from(self.percent)
    }
}

/// What was found of one tenant.
#[derive(Debug, Serialize)]
struct Report {
    tenant: String,
    files: u64,
    bytes: u64,
    not_in_the_sample: u64,
    wrong: Vec<Finding>,
    without_digest: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Finding {
    key: String,
    problem: String,
}

/// What there is to say of one file.
enum Verdict {
    Good(u64),
    /// It was read, and there was nothing to compare it with.
    WithoutDigest(u64),
    Wrong(String),
    /// It was deleted after it was listed.
    Gone,
}

async fn report(
    audit: &Arc<Audit>,
    tenant: &TenantSettings,
    sample: &Sample,
    parallel: usize,
    progress: &Progress,
) -> Result<Report> {
    let mut report = Report {
        tenant: tenant.id.to_string(),
        files: 0,
        bytes: 0,
        not_in_the_sample: 0,
        wrong: Vec::new(),
        without_digest: Vec::new(),
    };
    let mut next = Some(None);
    while let Some(after) = next {
        let wanted = scoped::Listing {
            prefix: String::new(),
            after,
            limit: FILES_A_PAGE,
            digests: false,
        };
        let (files, last) = audit.store.list(&wanted).await?;
        next = last.map(Some);
        let mut page = Vec::new();
        for file in files {
            // Asked for, a row is not missing, whether its file is read or not.
            let row = audit.row(&file.key)?;
            if sample.has(&file.key) {
                page.push((file.key, row));
            } else {
                report.not_in_the_sample += 1;
            }
        }
        report.take(audit.check_all(page, parallel, progress).await?);
    }
    let rest = audit
        .listing
        .iter()
        .flat_map(|listing| listing.not_asked_for());
    let mut rest = stream::iter(rest).ready_chunks(FILES_A_PAGE);
    while let Some(rows) = rest.next().await {
        let mut page = Vec::new();
        for row in rows {
            let row = row?;
            match FileKey::parse(&row.key) {
                Ok(key) => page.push((key, Some(row))),
                Err(error) => report.wrong.push(Finding {
                    key: row.key,
                    problem: error.to_string(),
                }),
            }
        }
        report.take(audit.check_all(page, parallel, progress).await?);
    }
    Ok(report)
}

impl Report {
    fn take(&mut self, verdicts: Vec<(String, Verdict)>) {
        for (key, verdict) in verdicts {
            match verdict {
                Verdict::Good(bytes) => self.bytes += bytes,
                Verdict::WithoutDigest(bytes) => {
                    self.bytes += bytes;
                    self.without_digest.push(key);
                }
                Verdict::Wrong(problem) => self.wrong.push(Finding { key, problem }),
                Verdict::Gone => continue,
            }
            self.files += 1;
        }
    }
}

/// What files are held against.
struct Audit {
    store: TenantStore,
    listing: Option<Arc<Listing>>,
}

impl Audit {
    fn row(&self, key: &FileKey) -> Result<Option<Row>> {
        match &self.listing {
            Some(listing) => listing.find(key.as_str()),
            None => Ok(None),
        }
    }

    async fn check_all(
        self: &Arc<Self>,
        page: Vec<(FileKey, Option<Row>)>,
        parallel: usize,
        progress: &Progress,
    ) -> Result<Vec<(String, Verdict)>> {
        let checks = page.into_iter().map(|(key, row)| {
            let audit = Arc::clone(self);
            // A task each: hashing takes more than one processor.
            AbortOnDropHandle::new(tokio::spawn(async move {
                let verdict = audit.check(&key, row.as_ref()).await?;
                Ok::<_, anyhow::Error>((key.to_string(), verdict))
            }))
        });
        stream::iter(checks)
            .map(|check| async move { check.await? })
            .buffered(parallel)
            .inspect_ok(|(_, verdict)| match verdict {
                Verdict::Good(bytes) | Verdict::WithoutDigest(bytes) => progress.add(1, *bytes),
                Verdict::Wrong(_) | Verdict::Gone => progress.add(1, 0),
            })
            .try_collect()
            .await
    }

    /// # Errors
    /// When the store refuses or has no room for us: then no file can be
    /// judged.
    async fn check(&self, key: &FileKey, row: Option<&Row>) -> Result<Verdict> {
        match self.read(key, row).await {
            Ok(verdict) => Ok(verdict),
            Err(TenantStoreError::Store(StoreError::NotFound)) => Ok(match row {
                Some(_) => Verdict::Wrong("missing: the listing names it".to_owned()),
                None => Verdict::Gone,
            }),
            Err(TenantStoreError::Store(error @ StoreError::Forbidden(_))) => Err(error.into()),
            Err(TenantStoreError::Store(error @ StoreError::Corrupt)) => {
                Ok(Verdict::Wrong(format!("damaged: {error}")))
            }
            Err(error) => Ok(Verdict::Wrong(format!("cannot be read: {error}"))),
        }
    }

    async fn read(&self, key: &FileKey, row: Option<&Row>) -> Result<Verdict, TenantStoreError> {
        let listed = row.and_then(|row| row.digest);
        let key = ObjectKey::File(key.clone());
        let mut object = self.store.get(&key, GetOptions::default()).await?;
        let mut hasher = listed.map(|listed| listed.hasher());
        let mut size_bytes = 0;
        // The store compares with the digest that it keeps, where it has one.
        while let Some(chunk) = object.body.try_next().await? {
            size_bytes += chunk.len() as u64;
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
        }
        let listed_bytes = row.and_then(|row| row.size_bytes);
        if let Some(listed) = listed_bytes.filter(|listed| *listed != size_bytes) {
            let problem = format!("size: {size_bytes} bytes, and {listed} in the listing");
            return Ok(Verdict::Wrong(problem));
        }
        if hasher.map(crate::digest::FileHasher::finish) != listed {
            return Ok(Verdict::Wrong("digest: not that of the listing".to_owned()));
        }
        Ok(match (object.info.digest, listed) {
            (None, None) => Verdict::WithoutDigest(size_bytes),
            _ => Verdict::Good(size_bytes),
        })
    }
}

fn print(report: &Report) {
    println!(
        "{}: {}, {} read, {} wrong, {} without a digest",
        report.tenant,
        count(report.files, "file"),
        HumanBytes(report.bytes),
        report.wrong.len(),
        report.without_digest.len(),
    );
    for Finding { key, problem } in &report.wrong {
        println!("  {}: {problem}", key.escape_debug());
    }
    for key in &report.without_digest {
        println!("  {}: without a digest", key.escape_debug());
    }
}
