//! What `kura serve` needs of its configuration and of this machine.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use super::report::{Finding, Report};
use crate::config::{Config, Listen, StoreConfig, Values, memory_limit_bytes};
use crate::metrics::Metrics;
use crate::ops::secret;
use crate::render::pool::Pool;

/// What the server has besides buffers and caches, in bytes; measured.
const SERVER_BYTES: u64 = 40 << 20;
/// What a worker takes of memory for ordinary pictures, in bytes; measured.
const WORKER_BYTES: u64 = 64 << 20;
/// A connection and its request have so many descriptors at most.
const FDS_A_CONNECTION: u64 = 2;

pub(super) fn configuration(values: &Values, report: &mut Report) {
    for taken in values.warnings() {
        report.add(Finding::warning("configuration", taken.as_str()));
    }
    match values.config() {
        Ok(config) => {
            report.add(Finding::ok("configuration", "kura serve can use it"));
            report.add(tokens(&config));
        }
        Err(errors) => {
            for error in errors.0 {
                let finding = Finding::failure("configuration", error);
                report.add(finding.hint("docs/CONFIGURATION.md lists every setting"));
            }
        }
    }
}

fn tokens(config: &Config) -> Finding {
    match (&config.secrets, &config.deployment.store) {
        (None, StoreConfig::Directory(root)) if secret::read(root).is_err() => Finding::ok(
            "tokens",
            "the secret will be made when the server first starts",
        ),
        (None, _) => Finding::ok("tokens", "derived from the secret in the store"),
        (Some(_), _) => Finding::ok("tokens", "derived from KURA_SECRET"),
    }
}

pub(super) async fn look(values: &Values, report: &mut Report) {
    // What is wrong with it has been said.
    let Ok(config) = values.config() else {
        return;
    };
    for finding in rendering(&config).await {
        report.add(finding);
    }
    report.add(memory(&config));
    report.add(descriptors(&config));
    for finding in cache(&config) {
        report.add(finding);
    }
    if let Some(finding) = listening(&config) {
        report.add(finding);
    }
}

/// Starts a worker as the server does, which tells what holds it in.
async fn rendering(config: &Config) -> Vec<Finding> {
    let pool = Pool::new(config.render.clone(), Metrics::default());
    let walls = match pool.walls().await {
        Ok(walls) => walls,
        Err(why) => {
            let hint = "Thumbnails cannot be made here. Kernel 5.9 or later is needed, and a \
                        container runtime whose seccomp profile lets processes restrict \
                        themselves";
            return vec![Finding::failure("sandbox", why).hint(hint)];
        }
    };
    let sandbox = match walls.landlock_abi {
        0 => Finding::warning("sandbox", "seccomp and limits, but no landlock")
            .hint("seccomp alone forbids the same; a newer kernel has both"),
        abi => Finding::ok("sandbox", format!("seccomp, landlock ABI {abi}, limits")),
    };
    let font = if walls.fallback_font {
        Finding::ok("fallback font", "text of PDFs without fonts can be shown")
    } else {
        let text = "none: Japanese text of PDFs without fonts is missing from thumbnails";
        Finding::warning("fallback font", text)
            .hint("apt-get install fonts-ipaexfont-gothic, or set KURA_FALLBACK_FONT")
    };
    vec![sandbox, font]
}

fn memory(config: &Config) -> Finding {
    let buffers = config.deployment.limits.memory_bytes as u64;
    let thumbnails = config.cache.memory_bytes as u64;
    let workers = WORKER_BYTES * config.render.workers as u64;
    let needed = SERVER_BYTES + buffers + thumbnails + workers;
    let text = format!(
        "about {} at most (buffers {}, thumbnails {}, {} workers)",
        mib(needed),
        mib(buffers),
        mib(thumbnails),
        config.render.workers
    );
    match memory_limit_bytes() {
        None => Finding::warning("memory", format!("{text}; of how much is not known")),
        Some(limit) if limit < needed => {
            let text = format!("{text} of {}", mib(limit));
            Finding::warning("memory", text)
                .hint("lower KURA_MEMORY_BYTES or KURA_RENDER_WORKERS, or give it more")
        }
        Some(limit) => Finding::ok("memory", format!("{text} of {}", mib(limit))),
    }
}

fn descriptors(config: &Config) -> Finding {
    let needed = config.serve.max_connections as u64 * FDS_A_CONNECTION;
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < needed => {
            let text = format!("{most} may be open, and {needed} may be needed");
            Finding::warning("open files", text)
                .hint("raise the limit (ulimit -n, LimitNOFILE=), or lower KURA_MAX_CONNECTIONS")
        }
        Some(most) => Finding::ok("open files", format!("{most} may be open")),
        None => Finding::ok("open files", "no limit"),
    }
}

fn cache(config: &Config) -> Vec<Finding> {
    let Some(directory) = &config.cache.directory else {
        let text = "none: thumbnails are kept in memory only, and no files are leased";
        let hint = "KURA_CACHE_DIR names a directory, shared with Redmine for leases";
        return vec![Finding::warning("cache", text).hint(hint)];
    };
    let usable = match can_write(directory) {
        Ok(()) => Finding::ok("cache", "can be written"),
        Err(error) => Finding::failure("cache", error.to_string())
            .hint("give Kura's user the right to write there, or set KURA_CACHE_DIR"),
    };
    let shown = directory.display().to_string();
    let findings = [usable].into_iter().chain(space(config, directory));
    findings.map(|finding| finding.about(&shown)).collect()
}

fn space(config: &Config, directory: &Path) -> Option<Finding> {
    let free = free_bytes(directory)?;
    let wanted = config.cache.disk_bytes + config.cache.lease_bytes;
    let text = format!("{} free, and it may take {}", mib(free), mib(wanted));
    Some(if free < wanted {
        Finding::warning("cache space", text)
            .hint("lower KURA_CACHE_BYTES and KURA_LEASE_BYTES, or give it more")
    } else {
        Finding::ok("cache space", text)
    })
}

fn listening(config: &Config) -> Option<Finding> {
    let Listen::Tcp(address) = &config.listen else {
        return None;
    };
    let inside = ["127.", "localhost:", "[::1]:"];
    let is_inside = inside.iter().any(|start| address.starts_with(start));
    Some(if is_inside {
        Finding::ok(
            "address",
            format!("{address}, for this machine or task only"),
        )
    } else {
        let text = format!("{address} can be reached from elsewhere, without TLS");
        Finding::warning("address", text).hint("KURA_LISTEN=127.0.0.1:8950, or unix:PATH")
    })
}

/// Whether a directory can be written, or made where it is not there yet. It
/// is not made here: that would be with this user's rights, not the server's.
pub(super) fn can_write(directory: &Path) -> io::Result<()> {
    Ok(access(
        nearest(directory),
        Access::WRITE_OK | Access::EXEC_OK,
    )?)
}

/// The room on the disk that a directory is on, or will be.
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    let disk = statvfs(nearest(directory)).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

fn nearest(directory: &Path) -> &Path {
    let there = directory.ancestors().find(|path| path.exists());
    there.unwrap_or(Path::new("."))
}

/// Bytes as people say them.
pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
