//! Pictures made to do harm: each is answered in time, with what is wrong with
//! it, by a worker that may die of it; the server does not grow, and the next
//! picture is served.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kura::render::Refusal;
use kura::render::format::Format;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::hostile::{self, Case, Fate};
use crate::support::process::Process;

/// Past it a worker is killed. Decoders are slow when they are not optimised.
const RENDER_SECONDS: u64 = 2;
/// What anything may take besides, on a busy machine.
const GRACE: Duration = Duration::from_secs(5);
/// How much larger than before the server may ever be. Its cache holds the
/// thumbnails that were made; the largest bomb would take a thousand times this.
const GROWTH_BYTES: u64 = 24 << 20;
/// As many as there are workers.
const AT_ONCE: usize = 2;
/// It takes decoders furthest.
const HOSTILE_SIDE: u32 = 800;
/// Smaller than the honest pictures.
const HONEST_SIDE: u32 = 50;

/// A server with pictures.
struct Server {
    process: Process,
    _root: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let seconds = RENDER_SECONDS.to_string();
        let settings = [
            ("KURA_RENDER_SECONDS", seconds.as_str()),
            ("KURA_RENDER_WORKERS", "2"),
        ];
        let process = Process::directory(root.path().to_str().unwrap(), &settings);
        Self {
            process,
            _root: root,
        }
    }

    /// Stores a file, and returns the path of its thumbnails up to their size.
    async fn store(&self, file: Vec<u8>) -> (String, String) {
        let size = file.len();
        let reply = self.process.upload("file.bin", file).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::CREATED);
        let reply: Value = reply.json().await.unwrap();
        let [digest, key] = ["digest", "key"].map(|name| reply[name].as_str().unwrap().to_owned());
        (format!("/v1/thumbnails/{digest}_{size}"), key)
    }

    /// Asks for a thumbnail, which must be decided in time.
    async fn fate(&self, (path, key): &(String, String), side: u32) -> Fate {
        let path = format!("{path}_{side}.thumb?source={key}");
        let begun = Instant::now();
        let reply = self.process.request(Method::GET, &path).send().await;
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(RENDER_SECONDS) + GRACE,
            "{took:?}"
        );
        let reply = reply.unwrap();
        if reply.status() == StatusCode::OK {
            assert!(Format::of(&reply.bytes().await.unwrap()).is_some());
            return Fate::Drawn;
        }
        let status = reply.status().as_u16();
        let problem: Value = reply.json().await.unwrap();
        Fate::Refused(match (status, problem["code"].as_str().unwrap()) {
            (415, "not_an_image") => Refusal::NotAnImage,
            (422, "broken_image") => Refusal::Broken,
            (422, "image_too_large") => Refusal::TooLarge,
            // On a busy machine it may not have got the time to be costly.
            (422, "image_too_costly") | (503, "render_unavailable") => Refusal::TooCostly,
            other => panic!("{other:?}"),
        })
    }

    /// Its peak memory is counted from now on.
    fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5").unwrap();
    }
}

#[tokio::test]
async fn hostile_pictures_get_their_answers_and_the_next_is_served() {
    let server = &Server::start();
    let mut stored = Vec::new();
    for (n, Case { name, bytes, fates }) in hostile::all().into_iter().enumerate() {
        // What follows the end of a PNG makes it another file.
        let mut honest = hostile::png::honest();
        honest.extend(n.to_string().bytes());
        let (hostile, honest) = (server.store(bytes).await, server.store(honest).await);
        stored.push((name, fates, hostile, honest));
    }
    server.forget_peak();
    let before = server.process.memory_bytes("VmRSS");

    let wrong = stream::iter(stored).map(|(name, fates, hostile, honest)| async move {
        let begun = Instant::now();
        let fate = server.fate(&hostile, HOSTILE_SIDE).await;
        println!("{name}: {fate:?} after {:?}", begun.elapsed());
        assert_eq!(
            server.fate(&honest, HONEST_SIDE).await,
            Fate::Drawn,
            "after {name}"
        );
        (!fates.contains(&fate)).then(|| format!("{name}: {fate:?}, not {fates:?}"))
    });
    let wrong: Vec<_> = wrong.buffer_unordered(AT_ONCE).collect().await;
    let growth = server.process.memory_bytes("VmHWM").saturating_sub(before);
    println!("the server grew by {} KiB", growth >> 10);
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(growth < GROWTH_BYTES, "{growth}");
}

#[tokio::test]
async fn damaged_pictures_are_drawn_or_refused() {
    let server = Server::start();
    for file in hostile::damaged() {
        let stored = server.store(file).await;
        server.fate(&stored, HONEST_SIDE).await;
    }
    for (format, file) in hostile::honest() {
        let stored = server.store(file).await;
        assert_eq!(
            server.fate(&stored, HONEST_SIDE).await,
            Fate::Drawn,
            "{format:?}"
        );
    }
}
