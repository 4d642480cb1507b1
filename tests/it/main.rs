//! Behaviour through the real router, real processes and real S3 protocol
//! servers: one binary, one file per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::range_plus_one,
    unreachable_pub,
    reason = "helpers of tests may fail them, and are public for other modules of this binary"
)]

mod support;

mod archives;
mod bad_input;
mod broken_bodies;
mod chaos;
mod downloads;
mod faults_clients;
mod faults_download;
mod faults_other;
mod faults_upload;
mod health;
mod hostile;
mod house;
mod imports;
mod leases;
mod limits;
mod listing;
mod openapi;
mod process;
mod ranges;
mod refusals;
mod rendering;
mod requests;
mod same_name;
mod stores;
mod tenant_command;
mod tenant_files;
mod tenants;
mod thumbnails;
mod thumbnails_fair;
mod thumbnails_kept;
mod tickets;
mod uploads;
mod workers;
