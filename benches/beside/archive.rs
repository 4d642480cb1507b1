//! What does a ZIP of an issue's files cost, beside the way in which Redmine
//! makes it: each file read whole and deflated by rubyzip, in memory?

use std::process::Command;

use hyper::Method;
use serde_json::json;

use crate::load::{self, Call, Payload};
use crate::peers::{Stage, kura_post, timed, token};
use crate::report::{Goal, Table, goal, number};
use crate::rounds::median;
use crate::server::{Server, cpu_of_ended, has};
use crate::support::pattern;
use crate::{progress, scaled};

const FILES: usize = 10;
/// Ruby's CPU time as so many of Kura's.
const GOAL: Goal = Goal::AtLeast(20.0);
/// rubyzip, with its default: deflate.
const RUBY: &str = "
require 'zip'
archive = Zip::OutputStream.write_buffer do |zip|
  ARGV.each do |path|
    zip.put_next_entry(File.basename(path))
    zip.write(File.binread(path))
  end
end
abort if archive.string.empty?
";

pub(crate) async fn ask() -> String {
    progress("ZIP");
    let bytes = scaled(20_000_000, 2_000_000);
    let stage = Stage::start().await;
    let near = Server::kura(&[]);
    let on_s3 = Server::kura_on(&stage.seaweed.endpoint, &[]);
    let ruby = rubyzip(bytes);
    let mut table = Table::new(&[
        "",
        "seconds",
        "CPU seconds",
        "Redmine's way: seconds",
        "CPU seconds",
        "its CPU / Kura's",
    ]);
    for (what, kura) in [("directory", &near), ("SeaweedFS", &on_s3)] {
        let archive = archive_of(kura, bytes as u64).await;
        let [mut walls, mut cpus] = [Vec::new(), Vec::new()];
        for _ in 0..scaled(3, 1) {
            let cpu = kura.cpu();
            let outcome = load::run(1, 1, &|_| archive.clone()).await;
            assert!(outcome.bytes > (FILES * bytes) as u64);
            walls.push(outcome.seconds);
            cpus.push(kura.cpu() - cpu);
        }
        let [wall, cpu] = [walls, cpus].map(|values| median(values.into_iter()));
        let theirs = match &ruby {
            Ok((wall, cpu)) => [number(*wall), number(*cpu)],
            Err(why) => [(*why).to_owned(), "–".to_owned()],
        };
        let ratio = ruby
            .as_ref()
            .map_or_else(|_| "–".to_owned(), |(_, theirs)| goal(theirs / cpu, GOAL));
        let [their_wall, their_cpu] = theirs;
        table.row(&[
            format!("{FILES} × {}, {what}", crate::report::size(bytes as u64)),
            number(wall),
            number(cpu),
            their_wall,
            their_cpu,
            ratio,
        ]);
    }
    table.finish()
}

async fn archive_of(kura: &Server, bytes: u64) -> Call {
    let names: Vec<_> = (0..FILES).map(|n| format!("part-{n}.bin")).collect();
    for name in &names {
        let post = kura_post(kura, "default", name, Payload::Noise(bytes));
        load::run(1, 1, &|_| post.clone()).await;
    }
    let entry = |name| json!({"key": format!("2026/11/{name}"), "name": name});
    let entries: Vec<_> = names.iter().map(entry).collect();
    let body = json!({"entries": entries}).to_string();
    Call::get(&kura.address, "/v1/archives")
        .method(Method::POST)
        .header("authorization", token("default"))
        .header("content-type", "application/json")
        .body(Payload::Bytes(body.into()))
}

/// Seconds and CPU seconds, medians.
fn rubyzip(bytes: usize) -> Result<(f64, f64), &'static str> {
    let there = Command::new("ruby").args(["-e", "require 'zip'"]).output();
    if !has("ruby") || !there.is_ok_and(|output| output.status.success()) {
        return Err("not run: needs ruby-zip");
    }
    let scratch = tempfile::tempdir().unwrap();
    let files = (0..FILES).map(|n| scratch.path().join(format!("part-{n}.bin")));
    let files: Vec<_> = files.collect();
    for (seed, file) in files.iter().enumerate() {
        std::fs::write(file, pattern(seed as u64, bytes)).unwrap();
    }
    let [mut walls, mut cpus] = [Vec::new(), Vec::new()];
    for _ in 0..scaled(3, 1) {
        let cpu = cpu_of_ended();
        walls.push(timed(Command::new("ruby").args(["-e", RUBY]).args(&files)) / 1000.0);
        cpus.push(cpu_of_ended() - cpu);
    }
    let [wall, cpu] = [walls, cpus].map(|values| median(values.into_iter()));
    Ok((wall, cpu))
}
