//! What the fuzz targets share.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use kura::render::format::Format;
use kura::render::{self, Limits, Order, Studio};

/// Small, so that what goes past them is found soon.
const LIMITS: Limits = Limits {
    source_bytes: 1 << 20,
    pixels: 1 << 20,
    frame_bytes: 32 << 20,
};

/// Makes thumbnails of `data`, if it is of this format, as a worker does: a
/// panic of somebody else's codec is caught. One in our own code is a find.
pub fn render(format: Format, data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| panic::set_hook(Box::new(abort_in_our_own_code)));
    if Format::of(data) != Some(format) {
        return;
    }
    let made = panic::catch_unwind(|| {
        let mut studio = Studio::default();
        // Full, half, quarter and eighth scale of something not large.
        for side in [50, 100, 200, 800] {
            let thumbnail = render::render(&mut &*data, Order { side }, &LIMITS, &mut studio);
            if let Ok(thumbnail) = thumbnail {
                assert_eq!(Format::of(&thumbnail.bytes), Some(format.of_thumbnail()));
            }
        }
    });
    drop(made);
}

fn abort_in_our_own_code(panic: &PanicHookInfo) {
    let file = panic.location().map_or("", |location| location.file());
    if !file.contains("/registry/") {
        eprintln!("{panic}");
        std::process::abort();
    }
}
