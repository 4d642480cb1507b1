//! Behaviour through the real router, real processes and real S3 protocol
//! servers: one binary, one file per behaviour.

mod support;

mod chaos;
mod faults_clients;
mod faults_download;
mod faults_other;
mod faults_upload;
mod requests;
mod smoke;
mod stores;
