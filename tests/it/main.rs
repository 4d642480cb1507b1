//! Behaviour through the real router, real processes and real S3 protocol
//! servers: one binary, one file per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "helpers of tests may fail them, and are public for other modules of this binary"
)]

mod support;

mod archives;
mod bad_input;
mod broken_bodies;
mod downloads;
mod health;
mod imports;
mod limits;
mod listing;
mod ranges;
mod stores;
mod tenants;
mod uploads;
