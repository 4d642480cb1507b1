//! `kura tenant export`: all files of a tenant in one tar archive.
//!
//! `files/` has them as Redmine's directory would; `manifest.jsonl`, the last
//! member, has a line for each. The archive appears under its name when it is
//! whole. Until then the files that are in it, and the manifest so far, lie
//! beside it: an export that was killed goes on behind the last of them.

mod archive;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::{TryStreamExt as _, stream};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use tokio::sync::mpsc;

use self::archive::{Archive, Member};
use crate::config::Values;
use crate::digest::{Digest, Hasher};
use crate::key::{FileKey, Kind, ObjectKey};
use crate::ops::listing::ManifestLine;
use crate::ops::progress::{Progress, count};
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand, arguments, audit};
use crate::storage::holdings::Holdings;
use crate::storage::scoped::{TenantStore, TenantStoreError};
use crate::storage::{GetOptions, Object, StoreError};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

/// Chunks of a body on their way to the disk.
const CHUNKS_AHEAD: usize = 4;

fn describe() -> Command {
    Command::new("export")
        .about("Writes all files of a tenant to a tar archive")
        .after_help(
            "The archive has files/ and manifest.jsonl, and `kura migrate to-kura --files files \
             --listing manifest.jsonl` takes what it has been unpacked to. Thumbnails and \
             imports are not in it. Interrupted, the same command goes on where it was, but not \
             with `--output -`; files that were deleted meanwhile stay in the archive. Exit code \
             1 when a file was skipped.",
        )
        .arg(arguments::tenant())
        .arg(
            Arg::new("output")
                .long("output")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The archive, which must not be there yet, or - for standard output"),
        )
        .arg(arguments::parallel("8"))
        .args(audit::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let output: &PathBuf = matches.get_one("output").context("no output is named")?;
        let site = Site::open(values).await?;
        let tenant = arguments::tenant_of(matches, &site)?;
        let export = Export {
            store: site.open_tenant(&tenant)?.store,
            holdings: site.holdings(&tenant)?,
            parallel: arguments::parallel_of(matches),
        };
        let archive = if output == Path::new("-") {
            Archive::stream(Box::new(io::stdout()))
        } else {
            Archive::file(output, &tenant)?
        };
        let progress = Progress::new("exporting");
        let exported = export.write(archive, &progress).await;
        drop(progress);
        let details = match &exported {
            Ok(exported) => json!({
                "files": exported.files, "bytes": exported.bytes,
                "skipped": exported.skipped.len(),
            }),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        let details = details.as_object().cloned().unwrap_or_default();
        audit::record(matches, "export", &tenant.id, details);
        let exported = exported?;
        eprintln!(
            "{}: {}, {}{}",
            tenant.id,
            count(exported.files, "file"),
            HumanBytes(exported.bytes),
            match exported.before {
                0 => String::new(),
                before => format!(", {} of them by an earlier run", HumanCount(before)),
            }
        );
        for (key, why) in &exported.skipped {
            eprintln!("  skipped {}: {why}", key.escape_debug());
        }
        match exported.skipped.len() {
            0 => Ok(()),
            1 => bail!("1 object was skipped"),
            skipped => bail!("{skipped} objects were skipped"),
        }
    })
}

struct Export {
    store: TenantStore,
    holdings: Holdings,
    parallel: usize,
}

#[derive(Default)]
struct Exported {
    files: u64,
    bytes: u64,
    /// So many of the files were in the archive already.
    before: u64,
    skipped: BTreeMap<String, String>,
}

impl Export {
    async fn write(&self, mut archive: Archive, progress: &Progress) -> Result<Exported> {
        let (before, bytes) = archive.resumed();
        let mut exported = Exported {
            files: before,
            bytes,
            before,
            ..Exported::default()
        };
        let there = archive.take_there();
        let is_new = |key: &FileKey| !there.contains(&Digest::of(key.as_str().as_bytes()));
        let own = self.holdings.own();
        let pages = self.holdings.objects(&own).map_err(anyhow::Error::from);
        let objects = pages.map_ok(|page| stream::iter(page.into_iter().map(Ok)));
        let files = objects.try_flatten().try_filter_map(async |held| {
            Ok(match held.kind {
                Kind::File => {
                    let key = self.holdings.layout().file_of(&held.it.key);
                    key.filter(is_new).map(Ok)
                }
                Kind::Other => Some(Err(held.it.key)),
                Kind::Thumbnail | Kind::Import => None,
            })
        });
        // Opened ahead, because a store may be far; read one after the other.
        let opened = files
            .map_ok(async |file| {
                Ok::<_, anyhow::Error>(match file {
                    Ok(key) => Ok(self.open(&key).await?.map(|object| (key, object))),
                    Err(key) => Err(key),
                })
            })
            .try_buffered(self.parallel);
        futures_util::pin_mut!(opened);
        while let Some(next) = opened.try_next().await? {
            let (key, object) = match next {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(key) => {
                    let why = "it is no file of Kura's".to_owned();
                    exported.skipped.insert(key, why);
                    continue;
                }
            };
            let size_bytes = object.info.size_bytes;
            let (back, copied) = copy(archive, &key, object).await?;
            archive = back;
            match copied {
                Ok(()) => {
                    exported.files += 1;
                    exported.bytes += size_bytes;
                }
                Err(error) => {
                    exported.skipped.insert(key.to_string(), error.to_string());
                }
            }
            progress.add(1, size_bytes);
        }
        tokio::task::spawn_blocking(move || archive.finish()).await??;
        Ok(exported)
    }

    /// `None` for a file that has gone since it was listed, and for a claim.
    async fn open(&self, key: &FileKey) -> Result<Option<Object>> {
        let key = ObjectKey::File(key.clone());
        match self.store.get(&key, GetOptions::default()).await {
            Ok(object) => Ok(Some(object)),
            Err(TenantStoreError::Store(StoreError::NotFound)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Copies an object into the archive. One that cannot be read to its end is
/// not in it.
///
/// # Errors
/// When the archive cannot be written, or the store is the trouble.
async fn copy(
    mut archive: Archive,
    key: &FileKey,
    object: Object,
) -> Result<(Archive, Result<(), StoreError>)> {
    let Object { info, mut body, .. } = object;
    let (sender, receiver) = mpsc::channel::<Option<Bytes>>(CHUNKS_AHEAD);
    let member = Member {
        key: key.to_string(),
        size_bytes: info.size_bytes,
        modified: info.modified,
    };
    let writing = tokio::task::spawn_blocking(move || {
        let appended = archive.append(&member, receiver);
        (archive, appended)
    });
    let feeding = async {
        let mut hasher = Hasher::default();
        let mut read: Result<Digest, StoreError> = loop {
            match body.try_next().await {
                Ok(Some(chunk)) => {
                    hasher.update(&chunk);
                    // A writer that has failed says so itself.
                    let _ = sender.send(Some(chunk)).await;
                }
                Ok(None) => break Ok(hasher.finish()),
                Err(error) => break Err(error),
            }
        };
        if let Ok(digest) = &read
            && info.digest.is_some_and(|kept| kept != *digest)
        {
            read = Err(StoreError::Corrupt);
        }
        if read.is_ok() {
            let _ = sender.send(None).await;
        }
        drop(sender);
        read
    };
    let (written, read) = tokio::join!(writing, feeding);
    let (mut archive, appended) = written?;
    let digest = match read {
        Ok(digest) => digest,
        Err(error @ StoreError::Corrupt) => {
            archive.take_back()?;
            return Ok((archive, Err(error)));
        }
        Err(error) => return Err(error.into()),
    };
    archive.note(&ManifestLine {
        key: key.to_string(),
        size_bytes: info.size_bytes,
        sha256: digest.to_string(),
        content_type: info.content_type,
        file_name: info.file_name,
        modified: humantime::format_rfc3339_seconds(info.modified).to_string(),
        offset: appended?,
    })?;
    Ok((archive, Ok(())))
}
