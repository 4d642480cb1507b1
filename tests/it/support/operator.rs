//! The real `kura` as its operator runs it: settings in the environment, one
//! command at a time.

use std::process::{Command, Output};

use super::app::{BUCKET, FOLDER};
use super::process;
use super::s3_server::S3Server;
use super::seaweed::{Seaweed, static_key};

/// An operator's environment.
pub struct Operator(Vec<(&'static str, String)>);

impl Operator {
    /// Of a single tenant, `default`, in a directory store.
    pub fn directory(root: &str) -> Self {
        let store = ("KURA_STORE", format!("dir:{root}"));
        let bucket = ("S3_BUCKET_NAME", BUCKET.to_owned());
        Self(vec![store, bucket, ("S3_FOLDER_NAME", FOLDER.to_owned())])
    }

    /// Of a single tenant, `default`, on the S3 server of this process.
    pub fn s3(server: &S3Server) -> Self {
        Self::at(&server.endpoint(), BUCKET)
    }

    /// Of a single tenant, `default`, on `SeaweedFS`.
    pub fn seaweed(bucket: &str) -> Self {
        Self::at(&Seaweed::shared().endpoint, bucket)
    }

    fn at(endpoint: &str, bucket: &str) -> Self {
        let key = static_key();
        Self(vec![
            ("KURA_STORE", "s3".to_owned()),
            ("AWS_ENDPOINT_URL_S3", endpoint.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", key.id),
            ("AWS_SECRET_ACCESS_KEY", key.secret),
            ("S3_BUCKET_NAME", bucket.to_owned()),
            ("S3_FOLDER_NAME", FOLDER.to_owned()),
        ])
    }

    /// One setting more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, value.to_owned()));
        self
    }

    /// A command that has not been started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let settings: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        process::command(arguments, &settings)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}
