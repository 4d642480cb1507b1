//! Everything at once: uploads and downloads side by side while random
//! requests to S3 fail in random ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::support::bench::{Bench, PART, created};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule};

const SMALL: u64 = 150;
const LARGE: u64 = 4;
const AT_ONCE: usize = 12;

/// What is requested so often that its faults are soon used up.
const COMMON: &[&str] = &["PutObject", "GetObject"];
const OPERATIONS: &[&str] = &[
    "PutObject",
    "PutObject",
    "GetObject",
    "GetObject",
    "HeadObject",
    "DeleteObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
];

/// A sequence that looks random and depends on its seed alone.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// Fails one of the next requests of some operation.
    fn rule(&mut self, armed: &mut BTreeMap<&'static str, usize>) -> FaultRule {
        let operation = OPERATIONS[self.below(OPERATIONS.len())];
        // What clears up is seldom needed. If its faults added up, they would
        // outlast the tries of one request, and what is left then is known.
        let count = armed.entry(operation).or_default();
        *count += 1;
        let operation = match *count {
            3.. if !COMMON.contains(&operation) => COMMON[*count % COMMON.len()],
            _ => operation,
        };
        let bytes = self.below(60_000);
        let fault = match self.below(9) {
            0 => Fault::status(503, "SlowDown"),
            1 => Fault::status(500, "InternalError"),
            2 => Fault::ResetRequestAfter(bytes),
            3 => Fault::ResetResponseAfter(bytes),
            4 => Fault::StallResponseAfter(bytes),
            5 => Fault::StallRequest,
            6 => Fault::ShortBody(bytes),
            7 if operation == "GetObject" => Fault::WrongBytes,
            _ => Fault::LostSuccess,
        };
        FaultRule {
            skip: self.below(3),
            ..FaultRule::once(operation, fault)
        }
    }
}

/// A Kura in trouble, and what it has acknowledged.
struct Chaos {
    bench: Bench,
    random: Mutex<Random>,
    armed: Mutex<BTreeMap<&'static str, usize>>,
    acknowledged: Mutex<BTreeMap<String, Bytes>>,
}

impl Chaos {
    fn below(&self, end: usize) -> usize {
        self.random.lock().unwrap().below(end)
    }

    async fn step(&self, number: u64) {
        for _ in 0..self.below(4) {
            let mut armed = self.armed.lock().unwrap();
            let rule = self.random.lock().unwrap().rule(&mut armed);
            self.bench.server.fail(rule);
        }
        let len = match number {
            0..LARGE => PART + self.below(PART),
            _ => self.below(200_000),
        };
        self.upload(pattern(number, len)).await;
        self.download().await;
    }

    /// Few names, so that many are taken.
    async fn upload(&self, body: Bytes) {
        let name = format!("26112219450{}_a", self.below(5));
        let response = self.bench.app.upload(&name, body.clone()).send().await;
        let response = response.unwrap();
        if response.status().is_server_error() {
            return;
        }
        let key = created(response, &body).await;
        let known = self.acknowledged.lock().unwrap().insert(key, body);
        assert_eq!(known, None, "two uploads were given one key");
    }

    async fn download(&self) {
        let chosen = {
            let acknowledged = self.acknowledged.lock().unwrap();
            let number = self.below(acknowledged.len().max(1));
            let chosen = acknowledged.iter().nth(number);
            chosen.map(|(key, body)| (key.clone(), body.clone()))
        };
        let Some((key, body)) = chosen else { return };
        // One that breaks off is a failure that the client sees.
        let Ok(response) = self.bench.file(&key).send().await else {
            return;
        };
        if response.status().is_server_error() {
            return;
        }
        assert_eq!(response.status(), 200, "{key}");
        if let Ok(received) = response.bytes().await {
            assert!(received == body, "{key} was read with other bytes");
        }
    }
}

/// Lets one sequence of faults loose on one Kura.
async fn unleash(seed: u64) {
    let chaos = Arc::new(Chaos {
        bench: Bench::start().await,
        random: Mutex::new(Random::new(seed)),
        armed: Mutex::default(),
        acknowledged: Mutex::default(),
    });
    stream::iter(0..SMALL + LARGE)
        .for_each_concurrent(AT_ONCE, |number| {
            let chaos = Arc::clone(&chaos);
            let step = tokio::spawn(async move { chaos.step(number).await });
            async { step.await.unwrap() }
        })
        .await;
    let acknowledged = chaos.acknowledged.lock().unwrap().clone();
    let requests = chaos.bench.server.requests();
    let failed = requests
        .iter()
        .filter(|request| request.status.is_none_or(|status| status >= 500))
        .count();
    let count = acknowledged.len();
    assert!(failed >= 30, "seed {seed}: {failed} failures are no chaos");
    // One fault is never enough to make an upload fail.
    assert!(
        count > 120,
        "seed {seed}: {count} uploads were acknowledged"
    );

    chaos.bench.server.clear_faults();
    let files: Vec<&str> = acknowledged.keys().map(String::as_str).collect();
    chaos.bench.until_only(&files).await;
    for (key, body) in &acknowledged {
        chaos.bench.assert_reads(key, body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_what_was_acknowledged_is_there_and_nothing_else() {
    futures_util::future::join_all([1, 2].map(unleash)).await;
}
