//! What does a thumbnail cost: when it is made, and when it is there, on disk,
//! in memory or at the caller's? `make bench-thumbnails` has all formats; here
//! is the picture that people upload most.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::Method;
use jpeg_encoder::{ColorType, Encoder};
use kura::digest::Digest;

use crate::load::{self, Call, Payload};
use crate::peers::{kura_post, token};
use crate::report::{Goal, Table, goal, number, or_not_run};
use crate::rounds::median;
use crate::server::{Server, has};
use crate::storm::{Level, copies};
use crate::support::pattern;
use crate::tools::{CONVERT, Tool};
use crate::{progress, scaled};

const SIDE: u32 = 200;
const ROUNDS: usize = 3;
/// Requests a second, fewer than either server can bear.
const RATE: f64 = 8000.0;
const CONNECTIONS: usize = 32;
const GOAL: Goal = Goal::AtLeast(0.8);

/// A photograph of 12 megapixels, more or less: shapes, gradients and noise.
fn photograph() -> Vec<u8> {
    const WIDTH: usize = 4000;
    const HEIGHT: usize = 3000;
    let noise = pattern(3, WIDTH * HEIGHT);
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let wave = ((x as f64 / 97.0).sin() + (y as f64 / 61.0).cos()) * 40.0;
            let grain = f64::from(noise[y * WIDTH + x] & 15);
            let edge = if (x / 250 + y / 250) % 2 == 0 {
                30.0
            } else {
                0.0
            };
            let light = 90.0 + wave + grain + edge;
            for tint in [x as f64 / 80.0, 20.0, y as f64 / 60.0] {
                pixels.push((light + tint).clamp(0.0, 255.0) as u8);
            }
        }
    }
    let mut jpeg = Vec::new();
    let encoder = Encoder::new(&mut jpeg, 90);
    encoder
        .encode(&pixels, WIDTH as u16, HEIGHT as u16, ColorType::Rgb)
        .unwrap();
    jpeg
}

/// The same picture as a file of its own.
async fn upload(kura: &Server, picture: &[u8]) -> Call {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // What follows the end of the picture belongs to no picture.
    let bytes = [picture, &number.to_le_bytes()].concat();
    let name = format!("photo-{number}.jpg");
    let (digest, size) = (Digest::of(&bytes), bytes.len());
    let post = kura_post(kura, "default", &name, Payload::Bytes(bytes.into()));
    load::run(1, 1, &|_| post.clone()).await;
    let path = format!("/v1/thumbnails/{digest}_{size}_{SIDE}.thumb?source=2026/11/{name}");
    Call::get(&kura.address, path).header("authorization", token("default"))
}

/// Thumbnails that are there already: of one picture, in many files.
pub(crate) struct Warm {
    pub(crate) calls: Vec<Call>,
    pub(crate) bytes: Bytes,
}

impl Warm {
    pub(crate) async fn on(kura: &Server) -> Self {
        let picture = photograph();
        let (mut calls, mut bytes) = (Vec::new(), Bytes::new());
        for _ in 0..scaled(64, 4) {
            let call = upload(kura, &picture).await;
            let reply = fetch(&call).await;
            bytes = reply.bytes().await.unwrap();
            calls.push(call);
        }
        Self { calls, bytes }
    }
}

async fn fetch(call: &Call) -> reqwest::Response {
    let get = reqwest::Client::new().get(format!("http://{}{}", call.address, call.path));
    let get = call
        .headers
        .iter()
        .fold(get, |get, (name, value)| get.header(*name, value));
    get.send().await.unwrap().error_for_status().unwrap()
}

/// The same calls by who has the answers already.
async fn known(calls: &[Call]) -> Vec<Call> {
    let mut known = Vec::new();
    for call in calls {
        let reply = fetch(call).await;
        let tag = reply.headers()["etag"].to_str().unwrap();
        known.push(call.clone().header("if-none-match", tag));
    }
    known
}

pub(crate) async fn ask() -> String {
    let mut answer = made().await;
    answer += &there().await;
    answer
}

/// Thumbnails that have to be made.
async fn made() -> String {
    progress("thumbnails that are made");
    let picture = photograph();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("photo.jpg");
    std::fs::write(&file, &picture).unwrap();
    let kura = Server::kura(&[]);
    let mut calls = Vec::new();
    for _ in 0..scaled(20, 3) {
        calls.push(upload(&kura, &picture).await);
    }
    load::run(1, 1, &|_| calls[0].clone()).await;
    let [mut ours, mut vips, mut magick] = [(); 3].map(|()| Vec::new());
    for _ in 0..scaled(ROUNDS, 1) {
        let clear = Call::get(&kura.address, "/v1/thumbnails");
        let clear = clear
            .header("authorization", token("default"))
            .method(Method::DELETE);
        load::run(1, 1, &|_| clear.clone()).await;
        let cpu = kura.cpu();
        load::run(1, calls.len(), &|number| calls[number].clone()).await;
        ours.push((kura.cpu() - cpu) * 1000.0 / calls.len() as f64);
        let take = |tool: Tool, there: bool, costs: &mut Vec<f64>| {
            if there && has("time") {
                costs.push(tool.round(&file, SIDE, scratch.path()).milliseconds);
            }
        };
        take(Tool::Vips, has("vipsthumbnail"), &mut vips);
        take(Tool::Magick, Path::new(CONVERT).exists(), &mut magick);
    }
    let shown = |costs: &[f64]| (!costs.is_empty()).then(|| median(costs.iter().copied()));
    let [ours, vips, magick] = [&ours, &vips, &magick].map(|costs| shown(costs));
    let ratio = |other: Option<f64>| or_not_run(ours.zip(other).map(|(ours, other)| ours / other));
    let mut table = Table::new(&[
        "made of 12 megapixels",
        "Kura CPU ms",
        "vipsthumbnail",
        "ImageMagick",
        "Kura / vips",
        "Kura / ImageMagick",
    ]);
    table.row(&[
        format!("JPEG of {:.1} MB, {SIDE} px", picture.len() as f64 / 1e6),
        or_not_run(ours),
        or_not_run(vips),
        or_not_run(magick),
        ratio(vips),
        ratio(magick),
    ]);
    table.finish()
}

/// Thumbnails that are there, at one rate: what does each cost, beside nginx
/// that hands out the same bytes from a file?
async fn there() -> String {
    let memory = Server::kura(&[]);
    let warm = Warm::on(&memory).await;
    let disk = Server::kura(&[("KURA_CACHE_MEMORY_BYTES", "0")]);
    let on_disk = Warm::on(&disk).await;
    let root = tempfile::tempdir().unwrap();
    let nginx = Server::files(root.path());
    let files = match &nginx {
        Some(nginx) => copies(nginx, root.path(), &warm.bytes, warm.calls.len()),
        None => Vec::new(),
    };
    let (known_of_ours, known_files) = (known(&warm.calls).await, known(&files).await);
    let rows = [
        ("in memory", &memory, warm.calls, &files),
        ("on disk", &disk, on_disk.calls, &files),
        ("304", &memory, known_of_ours, &known_files),
    ];
    let mut table = Table::new(&[
        "there",
        "Kura: requests a CPU s",
        "p50 ms",
        "p99",
        "nginx: requests a CPU s",
        "p50 ms",
        "p99",
        "Kura / nginx",
    ]);
    for (what, kura, calls, files) in rows {
        progress(&format!("thumbnails {what}"));
        let mut rounds = Vec::new();
        for _ in 0..scaled(ROUNDS, 1) {
            let ours = Level::measure(kura, &calls, CONNECTIONS, RATE);
            let nginx = nginx.as_ref();
            let theirs = nginx.map(|nginx| Level::measure(nginx, files, CONNECTIONS, RATE));
            rounds.push((ours, theirs));
        }
        let of_ours =
            |figure: fn(&Level) -> f64| number(median(rounds.iter().map(|round| figure(&round.0))));
        let of_theirs = |figure: fn(&Level) -> f64| {
            let all: Vec<_> = rounds
                .iter()
                .filter_map(|round| round.1.as_ref().map(figure))
                .collect();
            or_not_run((!all.is_empty()).then(|| median(all.into_iter())))
        };
        let ratios = rounds
            .iter()
            .filter_map(|(ours, theirs)| Some(theirs.as_ref()?.cpu / ours.cpu));
        let ratios: Vec<_> = ratios.collect();
        let figures: [fn(&Level) -> f64; 3] = [
            |level| 1e6 / level.cpu,
            |level| level.seen.percentile(50.0),
            |level| level.seen.percentile(99.0),
        ];
        let mut cells = vec![what.to_owned()];
        cells.extend(figures.map(of_ours));
        cells.extend(figures.map(of_theirs));
        cells.push(if ratios.is_empty() {
            "not run".to_owned()
        } else {
            goal(median(ratios.into_iter()), GOAL)
        });
        table.row(&cells);
    }
    format!(
        "\n{}\n{} of {} bytes, {} requests a second on {CONNECTIONS} connections.\n",
        table.finish(),
        files.len(),
        warm.bytes.len(),
        number(RATE)
    )
}
