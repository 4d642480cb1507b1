//! `kura migrate`: attachments from Redmine's `files` directory into a tenant's
//! store, and back.
//!
//! What is there already is compared, by size and digest, and not moved again:
//! the state of a migration is the store and the tree themselves, so that it
//! can be killed at any moment and run again. Nothing is ever overwritten, and
//! a source is removed only when asked for, after its copy has been read back.

mod pace;
mod report;
mod to_disk;
mod to_kura;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::{Stream, TryStreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use self::pace::Pace;
use self::report::{Outcome, Report};
use self::tree::Source;
use super::listing::{Listing, Row};
use super::progress::Progress;
use super::site::Site;
use super::{OperatorCommand, arguments, audit};
use crate::config::Values;
use crate::digest::{Digest, FileDigest, Hasher};
use crate::key::{FileKey, ObjectKey};
use crate::ops;
use crate::storage::scoped::{TenantStore, TenantStoreError};
use crate::storage::{GetOptions, ObjectInfo, StoreError};

/// The command.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

const TO_KURA: &str = "to-kura";
const TO_DISK: &str = "to-disk";
/// How often a transfer is tried that the store did not take.
const TRIES: u32 = 5;
/// When the store has failed so often in a row, it is not for the files.
const MAX_FAILURES: usize = 32;

fn describe() -> Command {
    Command::new("migrate")
        .about("Moves attachments from Redmine's files directory into the store, and back")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(direction(TO_KURA).about("Stores the files of a directory as a tenant's"))
        .subcommand(direction(TO_DISK).about("Writes a tenant's files to a directory"))
}

fn direction(name: &'static str) -> Command {
    Command::new(name)
        .after_help(
            "Run it again after it was interrupted: what is there already is compared, not \
             moved again. Nothing is overwritten. Exit code 1 when a file was skipped.",
        )
        .arg(arguments::tenant())
        .arg(
            Arg::new("files")
                .long("files")
                .required(true)
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Redmine's files directory"),
        )
        .arg(arguments::listing(
            "Rows of attachments, as CSV or TSV: original names, types, sizes and digests",
        ))
        .arg(arguments::parallel("16"))
        .arg(
            Arg::new("bandwidth")
                .long("bandwidth")
                .value_name("BYTES")
                .value_parser(arguments::bytes)
                .help("Most bytes a second of all files, such as 20MB [default: no limit]"),
        )
        .arg(arguments::switch(
            "dry-run",
            "Read and compare, and write nothing",
        ))
        .arg(arguments::switch(
            "remove-source",
            "Remove each file where it came from, once its copy has been read back",
        ))
        .arg(arguments::json())
        .args(audit::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let (name, matches) = matches.subcommand().context("no direction is named")?;
    ops::run(values, async {
        let files: &PathBuf = matches.get_one("files").context("no directory is named")?;
        let site = Site::open(values).await?;
        let tenant = arguments::tenant_of(matches, &site)?;
        let job = Arc::new(Job {
            store: site.open_tenant(&tenant)?.store,
            listing: arguments::listing_of(matches).await?,
            pace: matches
                .get_one("bandwidth")
                .map(|rate| Arc::new(Pace::new(*rate))),
            parallel: arguments::parallel_of(matches),
            dry_run: matches.get_flag("dry-run"),
            remove_source: matches.get_flag("remove-source"),
            failures: AtomicUsize::new(0),
        });
        let mut report = Report::default();
        let ended = if name == TO_KURA {
            to_kura::run(&job, files, &mut report).await
        } else {
            to_disk::run(&job, files, &mut report).await
        };
        if matches.get_flag("json") {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.print(match (job.dry_run, name) {
                (true, _) => "would be moved",
                (false, TO_KURA) => "stored",
                (false, _) => "written",
            });
        }
        if !job.dry_run {
            audit::record(
                matches,
                &format!("migrate-{name}"),
                &tenant.id,
                report.counts(),
            );
        }
        site.deployment.close().await;
        ended.context("stopped before the end; run it again to go on")?;
        match report.skipped() {
            0 => Ok(()),
            1 => bail!("1 file was skipped"),
            skipped => bail!("{skipped} files were skipped"),
        }
    })
}

/// A migration in either direction.
struct Job {
    store: TenantStore,
    listing: Option<Arc<Listing>>,
    pace: Option<Arc<Pace>>,
    parallel: usize,
    dry_run: bool,
    remove_source: bool,
    /// How often the store has failed since it last did not.
    failures: AtomicUsize,
}

/// Why a file was not moved.
enum Failure {
    /// It is about the file.
    File(String),
    /// It is about the store.
    Store(StoreError),
}

impl From<TenantStoreError> for Failure {
    fn from(error: TenantStoreError) -> Self {
        match error {
            TenantStoreError::Key(error) => Self::File(error.to_string()),
            TenantStoreError::Store(
                error @ (StoreError::Throttled
                | StoreError::Unavailable(_)
                | StoreError::Forbidden(_)
                | StoreError::NoSpace
                | StoreError::Busy),
            ) => Self::Store(error),
            TenantStoreError::Store(error) => Self::File(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

impl Failure {
    fn file(why: impl Into<String>) -> Self {
        Self::File(why.into())
    }
}

impl Job {
    /// Does `one` for each, some at once, and notes what became of them.
    ///
    /// # Errors
    /// When the store is the trouble, and not single files.
    async fn each<T, F>(
        &self,
        all: impl Stream<Item = Result<T>>,
        report: &mut Report,
        progress: &Progress,
        one: impl Fn(T) -> F,
    ) -> Result<()>
    where
        F: Future<Output = (String, Result<Outcome, Failure>)> + Send + 'static,
    {
        all.map_ok(|it| {
            let task = AbortOnDropHandle::new(tokio::spawn(one(it)));
            async move { Ok::<_, anyhow::Error>(task.await?) }
        })
        .try_buffer_unordered(self.parallel)
        .try_for_each(|(name, outcome)| {
            let noted = self.judge(outcome).map(|outcome| {
                let bytes = match &outcome {
                    Outcome::Moved { size_bytes, .. } | Outcome::There { size_bytes, .. } => {
                        *size_bytes
                    }
                    Outcome::LeftOut(_) | Outcome::Skipped(_) => 0,
                };
                progress.add(1, bytes);
                report.add(name, outcome);
            });
            std::future::ready(noted)
        })
        .await
    }

    /// A store that refuses or fails for every file is told once.
    fn judge(&self, outcome: Result<Outcome, Failure>) -> Result<Outcome> {
        let error = match outcome {
            Err(Failure::Store(error)) => error,
            outcome => {
                self.failures.store(0, Ordering::Relaxed);
                return Ok(outcome.unwrap_or_else(|failure| match failure {
                    Failure::File(why) => Outcome::Skipped(why),
                    Failure::Store(error) => Outcome::Skipped(error.to_string()),
                }));
            }
        };
        let fatal = matches!(error, StoreError::Forbidden(_) | StoreError::NoSpace);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        ensure!(!fatal && failures < MAX_FAILURES, error);
        Ok(Outcome::Skipped(error.to_string()))
    }

    /// What the listing says of a key.
    fn row(&self, key: &str) -> Result<Option<Row>, Failure> {
        let Some(listing) = &self.listing else {
            return Ok(None);
        };
        listing
            .find(key)
            .map_err(|error| Failure::File(format!("{error:#}")))
    }

    async fn head(&self, key: &FileKey) -> Result<Option<ObjectInfo>, Failure> {
        let key = ObjectKey::File(key.clone());
        match patiently(|| self.store.head(&key)).await {
            Ok(info) => Ok(Some(info)),
            Err(TenantStoreError::Store(StoreError::NotFound)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The digest of a file, if its copy in the store has the same bytes, and
    /// the listing none other.
    async fn compare(
        &self,
        key: &FileKey,
        source: &Source,
        expected: Option<FileDigest>,
        info: &ObjectInfo,
    ) -> Result<Digest, Failure> {
        let other = || Failure::file("another file has its name at the destination");
        if source.metadata.len() != info.size_bytes {
            return Err(other());
        }
        let (digest, right) = source.digest(expected).await?;
        let stored = match info.digest {
            Some(stored) => stored,
            None => self.read_back(key).await?,
        };
        if stored != digest {
            return Err(other());
        }
        right.then_some(digest).ok_or_else(wrong_digest)
    }

    /// The digest of all bytes that the store gives for a key.
    async fn read_back(&self, key: &FileKey) -> Result<Digest, Failure> {
        let key = ObjectKey::File(key.clone());
        patiently(|| async {
            let get = self.store.get(&key, GetOptions::default());
            let mut body = get.await?.body;
            let mut hasher = Hasher::default();
            while let Some(chunk) = body.try_next().await? {
                hasher.update(&chunk);
            }
            Ok(hasher.finish())
        })
        .await
        .map_err(Failure::from)
    }

    /// The rows of the listing that no file was found for.
    fn rows_left(&self) -> impl Stream<Item = Result<Row>> {
        let rows = self
            .listing
            .iter()
            .flat_map(|listing| listing.not_asked_for());
        futures_util::stream::iter(rows)
    }
}

fn wrong_digest() -> Failure {
    Failure::file("its digest is not that of the listing")
}

/// The listing knows another size.
fn check_size(row: Option<&Row>, size_bytes: u64) -> Result<(), Failure> {
    match row.and_then(|row| row.size_bytes) {
        Some(listed) if listed != size_bytes => Err(Failure::File(format!(
            "it has {size_bytes} bytes, and {listed} in the listing"
        ))),
        _ => Ok(()),
    }
}

/// Tries again what the store could not do at the moment.
async fn patiently<T, F>(act: impl Fn() -> F) -> Result<T, TenantStoreError>
where
    F: Future<Output = Result<T, TenantStoreError>>,
{
    let mut tries = 1;
    loop {
        match act().await {
            Err(TenantStoreError::Store(
                StoreError::Busy | StoreError::Throttled | StoreError::Unavailable(_),
            )) if tries < TRIES => {
                tokio::time::sleep(Duration::from_secs(1 << tries)).await;
                tries += 1;
            }
            done => return done,
        }
    }
}
