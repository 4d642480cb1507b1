//! Kura (蔵, "storehouse"): the S3 attachment storage sidecar for Redmine.
//!
//! The modules, in reading order; each knows only those above it.

pub mod digest;
pub mod key;
pub mod tenant;

pub mod budget;
pub mod metrics;
pub mod render;
pub mod resident;
pub mod storage;

pub mod cache;

pub mod leases;
pub mod quota;
pub mod thumbnails;

pub mod http;

pub mod config;
pub mod telemetry;

pub mod deployment;

pub mod ops;

pub mod app;
