//! Behaviour through the real router, real processes and real S3 protocol
//! servers: one binary, one file per behaviour.

#![allow(
    unreachable_pub,
    reason = "what is public in a module of this binary is so for its other modules"
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
