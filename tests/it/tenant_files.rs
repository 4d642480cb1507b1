//! Tenant files in S3 are written only in place of what was read, whoever else
//! writes and whatever becomes of an answer. Those of a directory are tested
//! beside their code.

use futures_util::future::join_all;
use kura::metrics::Metrics;
use kura::storage::s3::{ConnectOptions, Connection, S3Source};
use kura::tenant::source::{TenantFile, TenantSource as _, WriteError};

use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::seaweed::{Seaweed, static_key};

const CONF: &str = "conf";
const NAME: &str = "a.yml";
const KEY: &str = "tenants/a.yml";

async fn source(connect: &ConnectOptions, conditions: Option<bool>) -> S3Source {
    let connection = Connection::open(connect, Metrics::default()).await;
    S3Source::new(&connection.unwrap(), CONF, "tenants/", conditions)
}

async fn server() -> (S3Server, ConnectOptions) {
    let server = S3Server::start().await.with_bucket(CONF);
    let connect = ConnectOptions {
        endpoint: Some(server.endpoint()),
        static_key: Some(static_key()),
        ..Seaweed::shared().connect_options()
    };
    (server, connect)
}

/// Eight write at once, each from a process of its own: first a new file, then
/// in place of it, then one of them removes it.
async fn race(connect: &ConnectOptions) {
    let sources = join_all((0..8).map(|_| source(connect, None))).await;
    let mut read: Option<TenantFile> = None;
    for round in ["first", "second", "third"] {
        let write = async |number: usize| {
            let text = format!("{round} {number}");
            let written = sources[number].write(NAME, &text, read.as_ref()).await;
            written.map(|version| TenantFile { text, version })
        };
        let outcomes = join_all((0..sources.len()).map(write)).await;
        assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
        let now = sources[0].read(NAME).await.unwrap();
        let listed = sources[0].list().await.unwrap();
        assert_eq!(listed.len(), 1, "trials are not listed");
        assert_eq!(listed[0].version, now.version);
        let refusal = match read {
            Some(_) => WriteError::Changed,
            None => WriteError::Exists,
        };
        let written: Vec<_> = outcomes.iter().flatten().collect();
        assert_eq!(written, [&now], "{outcomes:?}");
        let refused = outcomes.iter().filter_map(|it| it.as_ref().err());
        assert!(refused.into_iter().all(|it| *it == refusal), "{outcomes:?}");
        let late = read.replace(now);
        if let Some(late) = late {
            let removed = sources[1].remove(NAME, &late).await;
            assert_eq!(removed, Err(WriteError::Changed));
        }
    }
    let now = read.unwrap();
    sources[0].remove(NAME, &now).await.unwrap();
    let late = sources[1].write(NAME, "late", Some(&now)).await;
    assert_eq!(late, Err(WriteError::Changed));
    assert_eq!(sources[0].list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_write_at_once_one_does() {
    let (_server, connect) = server().await;
    race(&connect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_write_to_seaweedfs_at_once_one_does() {
    let seaweed = Seaweed::shared();
    seaweed.bucket(CONF).await;
    race(&seaweed.connect_options()).await;
}

#[tokio::test]
async fn write_whose_answer_is_lost_is_not_reported_as_somebody_elses() {
    let (server, connect) = server().await;
    let source = source(&connect, None).await;
    source.write(NAME, "one", None).await.unwrap();
    let read = source.read(NAME).await.unwrap();
    let mut lost = FaultRule::once("PutObject", Fault::LostSuccess);
    lost.key_contains = Some(KEY.to_owned());
    server.fail(lost);
    let version = source.write(NAME, "two", Some(&read)).await.unwrap();
    let now = source.read(NAME).await.unwrap();
    assert_eq!((now.text.as_str(), now.version), ("two", version));
}

#[tokio::test]
async fn server_that_ignores_conditions_does_not_lose_a_change_that_can_be_seen() {
    let (server, connect) = server().await;
    server.ignore_conditions(true);
    for conditions in [None, Some(false)] {
        let source = source(&connect, conditions).await;
        server.put_object(CONF, KEY, "one", &[]);
        let read = source.read(NAME).await.unwrap();
        server.put_object(CONF, KEY, "another's", &[]);
        let late = source.write(NAME, "two", Some(&read)).await;
        assert_eq!(late, Err(WriteError::Changed));
        assert_eq!(
            source.write(NAME, "two", None).await,
            Err(WriteError::Exists)
        );
        assert_eq!(source.remove(NAME, &read).await, Err(WriteError::Changed));
        let read = source.read(NAME).await.unwrap();
        assert_eq!(read.text, "another's");
        source.write(NAME, "two", Some(&read)).await.unwrap();
        assert_eq!(server.keys(CONF), [KEY], "nothing of the trial is left");
    }
}
