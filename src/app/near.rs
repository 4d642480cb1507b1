//! Opens what is kept close at hand: leased files, the caches of thumbnails,
//! and the workers that make them.

use std::io;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::cache::disk::DiskCache;
use crate::cache::memory::MemoryCache;
use crate::config::{CacheConfig, Config, TenantsConfig};
use crate::leases::{LeaseLimits, Leases};
use crate::metrics::Metrics;
use crate::render::pool::Pool;
use crate::tenant::Secrets;
use crate::thumbnails::{Places, ThumbnailOptions, Thumbnails};

pub(super) fn thumbnails(
    config: &Config,
    tasks: &TaskTracker,
    metrics: &Metrics,
) -> Arc<Thumbnails> {
    let places = Places {
        memory: MemoryCache::new(config.cache.memory_bytes, metrics),
        disk: disk(&config.cache, metrics),
        pool: Pool::new(config.render.clone(), metrics.clone()),
    };
    let options = ThumbnailOptions {
        max_source_bytes: config.render.limits.source_bytes,
        failure_ttl: config.thumbnail_failure_ttl,
        eager_sides: config.eager_thumbnails.clone(),
    };
    Thumbnails::new(places, options, tasks.clone(), metrics.clone())
}

/// The leases, if there are to be any and their directory can be had.
pub(super) fn leases(
    config: &Config,
    secrets: &Secrets,
    tasks: &TaskTracker,
    metrics: &Metrics,
) -> Option<Arc<Leases>> {
    let directory = config.cache.directory.as_deref()?;
    let all_bytes = config.cache.lease_bytes;
    if all_bytes == 0 {
        return None;
    }
    let limits = LeaseLimits {
        all_bytes,
        // One tenant of many must not keep the others out.
        tenant_bytes: match config.deployment.tenants {
            TenantsConfig::Single(_) => all_bytes,
            _ => all_bytes.div_ceil(2),
        },
    };
    let (secrets, tasks) = (secrets.clone(), tasks.clone());
    let opened = Leases::open(directory, limits, secrets, tasks, metrics);
    opened
        .inspect_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock => "another process has the directory".to_owned(),
                _ => error.to_string(),
            };
            tracing::warn!(directory = %directory.display(), why, "no files are leased");
        })
        .ok()
}

/// The cache on disk, if there is to be one and it can be had. What is in it
/// is found out in the background.
fn disk(config: &CacheConfig, metrics: &Metrics) -> Option<Arc<DiskCache>> {
    let directory = config.directory.as_deref()?;
    if config.disk_bytes == 0 {
        return None;
    }
    let cache = match DiskCache::open(directory, config.disk_bytes, metrics) {
        Ok(cache) => Arc::new(cache),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            tracing::warn!(
                directory = %directory.display(),
                "another process has the cache on disk: this one goes without"
            );
            return None;
        }
        Err(error) => {
            tracing::warn!(
                directory = %directory.display(), %error,
                "the cache on disk cannot be used: thumbnails are kept in memory only"
            );
            return None;
        }
    };
    let scanning = Arc::clone(&cache);
    tokio::task::spawn_blocking(move || {
        let (thumbnails, bytes) = scanning.scan();
        tracing::info!(thumbnails, bytes, "the cache on disk is known");
    });
    Some(cache)
}
