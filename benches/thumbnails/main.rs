//! What a thumbnail costs, beside the engines that others use: CPU time, peak
//! memory and likeness to a full decode, of the same files in the same run.
//!
//! `make bench-thumbnails` makes the corpus and writes the tables of
//! `docs/BENCHMARKS.md`; `make bench-thumbnails ONLY=webp` prints those of the
//! files with `webp` in their names.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a program that measures may stop"
)]

mod corpus;
mod quality;
#[allow(dead_code)]
#[path = "../beside/report.rs"]
mod report;
#[allow(dead_code, unreachable_pub, clippy::expect_used)]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod tools;
mod worker;

use std::fmt::Write as _;
use std::path::Path;

use kura::render::Order;

use corpus::Sample;
use quality::Likeness;
use report::Report;
use tools::Tool;
use worker::Worker;

/// The sizes that Redmine asks for most, and a large one.
const SIDES: [u32; 2] = [100, 400];
/// Every engine makes every thumbnail so many times over, by turns; what is
/// shown are medians.
const ROUNDS: usize = 3;

/// What one engine took for one thumbnail.
#[derive(Default)]
struct Cost {
    /// CPU milliseconds a thumbnail, by rounds.
    milliseconds: Vec<f64>,
    /// Peak memory in MiB.
    peak: f64,
    /// How like it is, and how many bytes it has.
    quality: Option<(Likeness, usize)>,
}

/// What all engines took for one thumbnail.
struct Row {
    sample: &'static Sample,
    side: u32,
    kura: Cost,
    /// The engine to beat: libvips, for documents `MuPDF`.
    rival: Cost,
    magick: Cost,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let wanted = wanted.iter().find(|text| !text.starts_with('-'));
    let corpus = corpus::make();
    let mut rows = Vec::new();
    for sample in corpus::SAMPLES {
        if wanted.is_some_and(|wanted| !sample.file.contains(wanted.as_str())) {
            continue;
        }
        for side in SIDES {
            eprintln!("{} at {side}", sample.file);
            rows.push(measure(sample, &corpus.join(sample.file), side).await);
        }
    }
    let answers = [
        (
            "formats",
            format!("{}\n\n{}", tools::machine(), costs(&rows)),
        ),
        ("quality", qualities(&rows)),
    ];
    if wanted.is_some() {
        for (_, answer) in answers {
            println!("{answer}");
        }
        return;
    }
    let mut report = Report::open();
    for (section, answer) in answers {
        report.write(section, &answer);
    }
}

async fn measure(sample: &'static Sample, file: &Path, side: u32) -> Row {
    let scratch = tempfile::tempdir().unwrap();
    let rival = sample.rival();
    let [mut kura, mut other, mut magick] = [(); 3].map(|()| Cost::default());
    let worker = Worker::start(file, Order { side }).await;
    for _ in 0..ROUNDS {
        kura.milliseconds.push(worker.round().await);
        for (tool, cost) in [(rival, &mut other), (Tool::Magick, &mut magick)] {
            let usage = tool.round(file, side, scratch.path());
            cost.milliseconds.push(usage.milliseconds);
            cost.peak = cost.peak.max(usage.peak);
        }
    }
    kura.peak = worker.peak();
    let reference = quality::reference(file, side, scratch.path());
    let path = scratch.path().join("kura.thumb");
    if let Ok(thumbnail) = worker.thumbnail().await {
        std::fs::write(&path, &thumbnail.bytes).unwrap();
        kura.quality = Some(reference.compare(&path));
    }
    other.quality = Some(reference.compare(&rival.thumbnail(file, scratch.path())));
    magick.quality = Some(reference.compare(&Tool::Magick.thumbnail(file, scratch.path())));
    Row {
        sample,
        side,
        kura,
        rival: other,
        magick,
    }
}

fn costs(rows: &[Row]) -> String {
    let mut table = String::from(
        "| file | px | Kura ms | vips ms | IM ms | Kura/vips | goal | Kura/IM | MiB: Kura | vips | IM |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [kura, rival, magick] = [&row.kura, &row.rival, &row.magick];
        let ratio = ratio(kura, rival);
        let goal = row.sample.goal(row.side);
        let met = match &kura.quality {
            Some(_) if ratio <= goal => "met",
            Some(_) => "**missed**",
            None => "**refused**",
        };
        let _ = writeln!(
            table,
            "| {} | {} | {:.1} | {:.1}{} | {:.0} | {ratio:.3} | {goal} {met} | {:.3} | {:.0} | {:.0} | {:.0} |",
            row.sample.file,
            row.side,
            median(&kura.milliseconds),
            median(&rival.milliseconds),
            if row.sample.is_document() {
                " (mutool)"
            } else {
                ""
            },
            median(&magick.milliseconds),
            self::ratio(kura, magick),
            kura.peak,
            rival.peak,
            magick.peak,
        );
    }
    table
}

fn qualities(rows: &[Row]) -> String {
    /// How much less like the full decode than vips' a thumbnail may be.
    const MARGIN: f64 = 0.002;
    let mut table = String::from(
        "| file | px | SSIM luma: Kura | vips | IM | RGB: Kura | vips | IM | goal | bytes: Kura | vips | IM |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let costs = [&row.kura, &row.rival, &row.magick];
        let of = |show: fn(&(Likeness, usize)) -> String| {
            let shown = costs.map(|cost| cost.quality.as_ref().map_or("refused".to_owned(), show));
            shown.join(" | ")
        };
        let met = match (&row.kura.quality, &row.rival.quality) {
            (Some((kura, _)), Some((rival, _))) => {
                kura.luma >= rival.luma - MARGIN && kura.rgb >= rival.rgb - MARGIN
            }
            _ => false,
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            row.sample.file,
            row.side,
            of(|(likeness, _)| format!("{:.4}", likeness.luma)),
            of(|(likeness, _)| format!("{:.4}", likeness.rgb)),
            if met { "met" } else { "**missed**" },
            of(|(_, bytes)| bytes.to_string()),
        );
    }
    table
}

/// The median of the rounds' ratios: what disturbs a round disturbs both sides.
fn ratio(one: &Cost, other: &Cost) -> f64 {
    let rounds = one.milliseconds.iter().zip(&other.milliseconds);
    median(&rounds.map(|(one, other)| one / other).collect::<Vec<_>>())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
