//! The settings of thumbnails: how they are made and where they are kept.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::memory::cpus;
use super::reader::Reader;
use super::{CACHE_FOLDER, CacheConfig};
use crate::render::pool::PoolOptions;
use crate::render::{Limits, MAX_SIDE, SIDE_STEP};

/// However many CPUs there are, more workers than that have to be asked for.
const MAX_AUTO_WORKERS: usize = 16;

impl Reader<'_> {
    pub(super) fn cache(&mut self) -> CacheConfig {
        let store = self.text("KURA_STORE");
        let beside = |root| Path::new(root).join(CACHE_FOLDER);
        CacheConfig {
            directory: match self.text("KURA_CACHE_DIR").as_str() {
                "auto" => store.strip_prefix("dir:").map(beside),
                "none" => None,
                path => Some(PathBuf::from(path)),
            },
            disk_bytes: self.number("KURA_CACHE_BYTES", 0..=u64::MAX),
            memory_bytes: self.number("KURA_CACHE_MEMORY_BYTES", 0..=usize::MAX),
            lease_bytes: self.number("KURA_LEASE_BYTES", 0..=u64::MAX),
        }
    }

    pub(super) fn render(&mut self) -> PoolOptions {
        let worker_memory_bytes = self.number("KURA_RENDER_MEMORY_BYTES", (128 << 20)..=u64::MAX);
        let deadline = self.seconds("KURA_RENDER_SECONDS");
        PoolOptions {
            // The same program even when its file is replaced.
            program: "/proc/self/exe".into(),
            workers: match self.text("KURA_RENDER_WORKERS").as_str() {
                "auto" => cpus().clamp(2, MAX_AUTO_WORKERS),
                _ => self.number("KURA_RENDER_WORKERS", 1..=1024),
            },
            queue: self.number("KURA_RENDER_QUEUE", 0..=1_000_000),
            patience: self.seconds("KURA_WAIT_SECONDS"),
            deadline,
            source_patience: deadline,
            worker_memory_bytes,
            worker_jobs: self.number("KURA_RENDER_JOBS", 1..=u32::MAX),
            worker_idle: self.seconds("KURA_RENDER_IDLE_SECONDS"),
            limits: Limits {
                source_bytes: self.number("KURA_RENDER_MAX_SOURCE_BYTES", 1..=u64::MAX),
                pixels: self.number("KURA_RENDER_MAX_PIXELS", 1..=u64::MAX),
                // The rest is for the source and for what decoders need besides.
                frame_bytes: worker_memory_bytes / 2,
            },
            fallback_font: self.fallback_font(),
        }
    }

    fn fallback_font(&mut self) -> Option<PathBuf> {
        let file = PathBuf::from(self.optional("KURA_FALLBACK_FONT")?);
        if !is_font(&file) {
            let error = "must be the path of a font (TrueType, OpenType or a collection)";
            self.error("KURA_FALLBACK_FONT", error);
        }
        Some(file)
    }

    pub(super) fn eager_thumbnails(&mut self) -> Vec<u32> {
        let text = self.text("KURA_EAGER_THUMBNAILS");
        if text.is_empty() {
            return Vec::new();
        }
        let sides: Result<Vec<u32>, _> = text.split(',').map(|side| side.trim().parse()).collect();
        let fits =
            |side: &u32| (SIDE_STEP..=MAX_SIDE).contains(side) && side.is_multiple_of(SIDE_STEP);
        let differ = |sides: &[u32]| sides.iter().collect::<HashSet<_>>().len() == sides.len();
        match sides {
            Ok(sides) if sides.iter().all(fits) && differ(&sides) => sides,
            _ => {
                self.error(
                    "KURA_EAGER_THUMBNAILS",
                    format_args!(
                        "must be different multiples of {SIDE_STEP} up to {MAX_SIDE}, with commas between"
                    ),
                );
                Vec::new()
            }
        }
    }
}

/// By what fonts begin with, as the OpenType specification has it in
/// "Organization of an OpenType Font"; `true` is Apple's.
fn is_font(file: &Path) -> bool {
    let mut tag = [0; 4];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut tag));
    read.is_ok() && [*b"\0\x01\0\0", *b"OTTO", *b"ttcf", *b"true"].contains(&tag)
}
