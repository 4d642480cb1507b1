//! `config/s3.yml` of `redmica_s3` in Kura's own settings, so that nobody has
//! to write them anew.
//!
//! The keys are those of `redmica_s3` 3.1 (`lib/redmica_s3/connection.rb`) and
//! of `redmine_s3`, which it comes from. What it does not say is what these
//! take it for: thumbnails and imports lie in `tmp/` at the bucket's root.

mod erb;

use std::fmt;
use std::path::Path;

use crate::storage::s3::StaticKey;
use crate::tenant::settings::{SectionText, section};

/// Where `redmica_s3` keeps thumbnails and imports unless it is told.
const ROOT_TMP: &str = "tmp";
/// About where browsers get files from: from Kura, in any case.
const OF_DELIVERY: [&str; 4] = ["secure", "private", "expires", "proxy"];

/// What such a file says.
#[derive(Clone, Debug, Default)]
pub struct S3Yml {
    /// In Kura's settings.
    pub settings: Vec<(&'static str, String)>,
    /// The static key, if it has one.
    pub static_key: Option<StaticKey>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// Reads the file.
///
/// # Errors
/// Everything in it that is not understood, with its line.
pub(super) fn read(
    path: &Path,
    environment: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<S3Yml, Vec<String>> {
    let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| vec![told(&error)])?;
    let understood = understand(&text, environment, env);
    understood.map_err(|errors| errors.iter().map(|error| told(error)).collect())
}

fn understand(
    text: &str,
    environment: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<S3Yml, Vec<String>> {
    let expanded = erb::expand(text, env).map_err(|errors| {
        let told = errors.into_iter();
        told.map(|error| format!("{} (line {})", error.problem, error.line))
            .collect::<Vec<_>>()
    })?;
    let section = section(&expanded, environment).map_err(|error| vec![error.to_string()])?;
    let Some(section) = section else {
        return Err(vec![format!("there is no section {environment}")]);
    };
    let mut reader = Reader::default();
    for (key, text) in &section {
        reader.take(key, text);
    }
    reader.finish()
}

/// The keys one by one, on their way to settings.
#[derive(Default)]
struct Reader {
    file: S3Yml,
    errors: Vec<String>,
    key_id: Option<String>,
    secret: Option<String>,
    endpoint: Option<String>,
    /// Of an endpoint that is only a host name, as `redmine_s3` has it.
    port: Option<u16>,
    tls: Option<bool>,
}

impl Reader {
    fn take(&mut self, key: &str, text: &SectionText) {
        let value = text.value.clone();
        match key {
            "bucket" => self.set("S3_BUCKET_NAME", value),
            "folder" => self.set("S3_FOLDER_NAME", value),
            "region" => self.set("AWS_REGION", value),
            "thumb_folder" => self.set("KURA_THUMB_FOLDER", value),
            "import_folder" => self.set("KURA_IMPORT_FOLDER", value),
            "endpoint" => self.endpoint = Some(value),
            "access_key_id" => self.key_id = Some(value),
            "secret_access_key" => self.secret = Some(value),
            "force_path_style" => {
                if let Some(yes) = self.truth(key, text) {
                    let word = if yes { "yes" } else { "no" };
                    self.set("KURA_S3_PATH_STYLE", word.to_owned());
                }
            }
            "ssl" => self.tls = self.truth(key, text),
            "port" => match value.parse() {
                Ok(port) => self.port = Some(port),
                Err(_) => self.error(key, text, "must be a port's number"),
            },
            _ => self.leave_out(key),
        }
    }

    fn leave_out(&mut self, key: &str) {
        let reason = match key {
            _ if key.contains("verify") => "TLS certificates are always verified",
            _ if OF_DELIVERY.contains(&key) => "browsers are never sent to S3",
            _ => "it is not known",
        };
        let warning = format!("{key} is left out: {reason}");
        self.file.warnings.push(warning);
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.file.settings.push((name, value));
    }

    fn has(&self, name: &str) -> bool {
        self.file.settings.iter().any(|(set, _)| *set == name)
    }

    fn truth(&mut self, key: &str, text: &SectionText) -> Option<bool> {
        match text.value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.error(key, text, "must be true or false");
                None
            }
        }
    }

    fn error(&mut self, key: &str, text: &SectionText, problem: &str) {
        let line = text.line.map(|line| format!(" (line {line})"));
        let line = line.unwrap_or_default();
        self.errors.push(format!("{key}: {problem}{line}"));
    }

    /// A URL, also of what is only a host name.
    fn endpoint(&mut self) {
        let is_host = |endpoint: &String| !endpoint.contains("://");
        match (&self.endpoint, self.port, self.tls) {
            (Some(host), port, tls) if is_host(host) => {
                let scheme = if tls == Some(false) { "http" } else { "https" };
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                let url = format!("{scheme}://{host}{port}");
                self.set("AWS_ENDPOINT_URL_S3", url);
            }
            (Some(url), None, None) => {
                let url = url.clone();
                self.set("AWS_ENDPOINT_URL_S3", url);
            }
            (None, None, None | Some(true)) => {}
            _ => {
                let problem = "only understood beside an endpoint that is a host name";
                self.errors.push(format!("port, ssl: {problem}"));
            }
        }
    }

    fn finish(mut self) -> Result<S3Yml, Vec<String>> {
        self.endpoint();
        self.set("KURA_STORE", "s3".to_owned());
        for name in ["KURA_THUMB_FOLDER", "KURA_IMPORT_FOLDER"] {
            if !self.has(name) {
                self.set(name, ROOT_TMP.to_owned());
            }
        }
        self.file.static_key = match (self.key_id, self.secret) {
            (Some(id), Some(secret)) => Some(StaticKey { id, secret }),
            (None, None) => None,
            _ => {
                let half = "access_key_id, secret_access_key: one is of no use without the other";
                self.errors.push(half.to_owned());
                None
            }
        };
        if self.errors.is_empty() {
            Ok(self.file)
        } else {
            Err(self.errors)
        }
    }
}

#[cfg(test)]
mod tests;
