//! The store: credentials, buckets and how they are set up, or the directory.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::machine::{can_write, free_bytes, mib};
use super::report::{Finding, Report};
use crate::config::{S3Config, StoreConfig};
use crate::ops::site::Site;
use crate::storage::s3::Connection;
use crate::storage::s3::examine::{Answer, BucketFacts, Lifecycle, Reached, Unknown};

/// S3 refuses requests of clocks that are off by 15 minutes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const MAX_SKEW: Duration = Duration::from_mins(15);
/// Clocks are rarely further apart than this unless nobody sets them.
const USUAL_SKEW: Duration = Duration::from_secs(30);
/// However many buckets tenants have, so many are looked at.
const MAX_BUCKETS: usize = 20;

/// A directory store with less, in bytes, will soon be full.
const LITTLE_ROOM: u64 = 1 << 30;

const LIFECYCLE_HINT: &str = "docs/CONFIGURATION.md#lifecycle-rule has one to copy";

pub(super) async fn look(site: &Site, report: &mut Report) {
    match (
        &site.deployment.config().store,
        site.deployment.connection(),
    ) {
        (StoreConfig::S3(config), Some(connection)) => {
            report.add(way(config));
            report.add(identity(config, connection).await);
            let tenants = site.tenants();
            let buckets: BTreeSet<_> = tenants.iter().map(|it| it.bucket.as_str()).collect();
            for bucket in buckets.iter().take(MAX_BUCKETS) {
                look_at_bucket(connection, bucket, report).await;
            }
            if let Some(more) = buckets
                .len()
                .checked_sub(MAX_BUCKETS)
                .filter(|more| *more > 0)
            {
                report.add(Finding::warning(
                    "bucket",
                    format!("{more} more not looked at"),
                ));
            }
        }
        (StoreConfig::Directory(root), _) => {
            let finding = match (can_write(root), free_bytes(root)) {
                (Err(error), _) => Finding::failure("store", error.to_string())
                    .hint("KURA_STORE=dir:PATH names a directory that Kura's user can write"),
                (Ok(()), Some(free)) if free < LITTLE_ROOM => {
                    Finding::warning("store", format!("{} free", mib(free)))
                        .hint("uploads fail with 507 storage_full when there is no room")
                }
                (Ok(()), Some(free)) => {
                    Finding::ok("store", format!("can be written, {} free", mib(free)))
                }
                (Ok(()), None) => Finding::ok("store", "can be written"),
            };
            report.add(finding.about(&root.display().to_string()));
        }
        (StoreConfig::S3(_), None) => {}
    }
}

fn way(config: &S3Config) -> Finding {
    let endpoint = config.connect.endpoint.as_deref();
    match endpoint {
        None => Finding::ok("TLS", "AWS's own endpoint, certificates verified"),
        Some(url) if url.starts_with("https://") => {
            Finding::ok("TLS", format!("{url}, certificates verified"))
        }
        Some(url) => {
            let text = format!("{url} is not encrypted");
            Finding::warning("TLS", text).hint(
                "use https:// unless the server is on this machine; AWS_CA_BUNDLE adds an \
                 authority of your own",
            )
        }
    }
}

async fn identity(config: &S3Config, connection: &Connection) -> Finding {
    match connection.identity().await {
        Ok(arn) => Finding::ok("credentials", arn),
        // Whether they are good the buckets will tell.
        Err(why) if config.connect.endpoint.is_some() => {
            let text = format!("whose they are is not known ({why})");
            Finding::warning("credentials", text)
                .hint("where the server has STS, set AWS_ENDPOINT_URL_STS to its URL")
        }
        Err(why) => Finding::failure("credentials", why).hint(
            "give the task a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
             docs/CONFIGURATION.md#credentials-for-s3",
        ),
    }
}

async fn look_at_bucket(connection: &Connection, bucket: &str, report: &mut Report) {
    let reached = connection.reach(bucket).await;
    let is_there = reached.outcome.is_ok();
    let itself = bucket_itself(connection, &reached);
    for finding in [itself].into_iter().chain(clock(&reached)) {
        report.add(finding.about(bucket));
    }
    if is_there {
        for finding in facts(&connection.facts(bucket).await) {
            report.add(finding.about(bucket));
        }
    }
}

fn bucket_itself(connection: &Connection, reached: &Reached) -> Finding {
    let region = connection.region();
    let elsewhere = reached.region.as_ref().filter(|other| **other != region);
    match (&reached.outcome, elsewhere) {
        (Err(why), Some(other)) => {
            Finding::failure("bucket", why.as_str()).hint(format!("AWS_REGION={other}"))
        }
        (Err(why), None) => Finding::failure("bucket", why.as_str()).hint(
            "look at S3_BUCKET_NAME or the tenants' s3.bucket, and whether the credentials may \
             s3:ListBucket",
        ),
        (Ok(()), Some(other)) => Finding::warning(
            "bucket",
            format!("lies in {other}, requests are signed for {region}"),
        )
        .hint(format!("AWS_REGION={other}")),
        (Ok(()), None) => Finding::ok("bucket", format!("is there, in {region}")),
    }
}

fn clock(reached: &Reached) -> Option<Finding> {
    let (theirs, ours) = reached.clocks?;
    let skew = apart(theirs, ours);
    let text = format!("{} s from the server's", skew.as_secs());
    let hint = "set the clock by NTP (chrony, systemd-timesyncd)";
    Some(if skew >= MAX_SKEW {
        Finding::failure("clock", text).hint(hint)
    } else if skew > USUAL_SKEW {
        Finding::warning("clock", text).hint(hint)
    } else {
        Finding::ok("clock", text)
    })
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    let apart = one.duration_since(other);
    apart.unwrap_or_else(|error| error.duration())
}

fn facts(facts: &BucketFacts) -> Vec<Finding> {
    let versioned = facts.versioning == Ok(true);
    vec![
        told("versioning", &facts.versioning, |on| {
            if *on {
                Finding::ok("versioning", "on: what is deleted stays as an old version")
            } else {
                Finding::ok("versioning", "off: what is deleted is gone")
            }
        }),
        told(
            "unfinished uploads",
            &facts.lifecycle,
            |rules: &Lifecycle| match rules.aborts_uploads {
                Some(days) => {
                    Finding::ok("unfinished uploads", format!("removed after {days} days"))
                }
                None => Finding::warning(
                    "unfinished uploads",
                    "no rule removes them: S3 bills them for ever",
                )
                .hint(LIFECYCLE_HINT),
            },
        ),
        told(
            "old versions",
            &facts.lifecycle,
            |rules: &Lifecycle| match rules.expires_versions {
                Some(days) => Finding::ok("old versions", format!("removed after {days} days")),
                None if versioned => Finding::warning("old versions", "no rule removes them")
                    .hint("a rule with NoncurrentVersionExpiration removes them after some days"),
                None => Finding::ok("old versions", "there are none"),
            },
        ),
        told("expiry", &facts.lifecycle, |rules: &Lifecycle| {
            if rules.expires_objects {
                Finding::failure(
                    "expiry",
                    "a lifecycle rule removes objects of the whole bucket",
                )
                .hint("remove that rule: it deletes attachments")
            } else {
                Finding::ok("expiry", "no rule removes attachments")
            }
        }),
        told(
            "encryption",
            &facts.encryption,
            |algorithm| match algorithm {
                Some(algorithm) => Finding::ok("encryption", algorithm.as_str()),
                None => Finding::warning("encryption", "objects are not encrypted at rest")
                    .hint("aws s3api put-bucket-encryption with AES256 or aws:kms"),
            },
        ),
        told("public access", &facts.public_access_blocked, |blocked| {
            if *blocked {
                Finding::ok("public access", "blocked")
            } else {
                Finding::warning(
                    "public access",
                    "a policy or an ACL could make objects public",
                )
                .hint("aws s3api put-public-access-block with all four set to true")
            }
        }),
    ]
}

/// What is known, or why it is not.
fn told<T>(check: &'static str, answer: &Answer<T>, say: impl FnOnce(&T) -> Finding) -> Finding {
    match answer {
        Ok(fact) => say(fact),
        Err(Unknown::Forbidden) => {
            Finding::warning(check, "not known: these credentials may not ask")
                .hint("the server needs no right to ask; run doctor once as an administrator")
        }
        Err(Unknown::Unsupported) => Finding::ok(check, "not a matter of this server"),
        Err(Unknown::Failed(why)) => Finding::warning(check, format!("not known: {why}")),
    }
}
