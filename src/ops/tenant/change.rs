//! Changes a tenant's file: found, edited, checked as the server would check
//! it, written in place of just what was read, and recorded.

use std::io::{Write as _, stdout};
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use clap::{Arg, ArgMatches};
use serde_json::{Map, Value, json};

use super::masked::{Difference, differences, in_a_line};
use crate::config::{TenantFiles, TenantsConfig, Values};
use crate::deployment::{Deployment, Probe};
use crate::metrics::Metrics;
use crate::ops::{self, arguments, audit, table};
use crate::tenant::settings::edit::{Key, Wanted, contents, edit};
use crate::tenant::settings::{self, SettingsError};
use crate::tenant::source::{TenantFile, TenantSource, WriteError};
use crate::tenant::{Registry, TenantId, TenantSettings};

/// What is to be done to a tenant's file.
pub(super) struct Change {
    /// The word for it in the record.
    pub(super) action: &'static str,
    /// True when the tenant is to be a new one.
    pub(super) is_new: bool,
    /// The keys to be changed, one after the other.
    pub(super) edits: Vec<(Key, Wanted)>,
}

/// What all changes may be told.
pub(super) fn arguments() -> [Arg; 3] {
    let [reason, actor] = audit::arguments();
    let dry_run = arguments::switch("dry-run", "Only show what would change");
    [dry_run, reason, actor]
}

/// Makes the change that the command line asks for.
pub(super) fn run(matches: &ArgMatches, values: &Values, change: &Change) -> Result<()> {
    ops::run(values, async {
        let id: &TenantId = matches.get_one("tenant").context("no tenant is named")?;
        let place = Place::open(values).await?;
        let (file_name, before) = place.find(id, change.is_new).await?;
        let old = before.as_ref().map_or("", |file| &file.text);
        let mut new = old.to_owned();
        for (key, wanted) in &change.edits {
            new = edit(&new, key, wanted).with_context(|| file_name.clone())?;
        }
        let differing = differences(&contents(old)?, &contents(&new)?);
        if differing.is_empty() {
            println!("{file_name}: nothing to change");
            return Ok(());
        }
        place
            .check(id, old, &new)
            .await
            .with_context(|| format!("{file_name} would not be usable, and is left as it is"))?;
        print(&file_name, &differing)?;
        if matches.get_flag("dry-run") {
            println!("dry run: nothing has been written");
            return Ok(());
        }
        let written = place.source.write(&file_name, &new, before.as_ref()).await;
        let version = written.with_context(|| file_name.clone())?;
        let now = TenantFile {
            text: new,
            version,
            changed: None,
        };
        // Another may have taken the folder since it was looked at.
        if let Err(why) = place.check(id, old, &now.text).await {
            let undone = place.take_back(&file_name, before.as_ref(), &now).await;
            undone
                .with_context(|| format!("{file_name} was written, and should not be: {why:#}"))?;
            return Err(why.context(format!("{file_name} was written and has been taken back")));
        }
        let versions = [before.map(|file| file.version), Some(now.version)];
        let seconds = place.files.refresh.as_secs();
        // The record must be made though nobody reads this.
        let told = writeln!(
            stdout(),
            "written: running servers follow within {seconds} s"
        );
        audit::record(matches, change.action, id, record(&differing, versions));
        Ok(told?)
    })
}

/// Where the tenants' files lie.
struct Place {
    deployment: Deployment,
    source: Arc<dyn TenantSource>,
    files: TenantFiles,
    tenants: Registry<()>,
}

impl Place {
    async fn open(values: &Values) -> Result<Self> {
        let config = values.deployment()?;
        let files = match &config.tenants {
            TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. } => {
                files.clone()
            }
            TenantsConfig::Single(settings) => bail!(
                "the environment describes the only tenant, `{}`: change S3_BUCKET_NAME and the \
                 like where they are set, or name a place for tenant files by KURA_TENANTS",
                settings.id
            ),
        };
        let deployment = Deployment::open(config, Probe::WhenNeeded, &Metrics::default()).await?;
        let source = deployment.tenant_source()?;
        let source = source.context("KURA_TENANTS: there are no tenant files")?;
        let tenants = deployment.registry(|_| Ok(()))?;
        Ok(Self {
            deployment,
            source,
            files,
            tenants,
        })
    }

    /// The tenant's file, or the name for a new one.
    async fn find(&self, id: &TenantId, is_new: bool) -> Result<(String, Option<TenantFile>)> {
        let listed = self.source.list().await?.into_iter();
        let own = listed.filter(|file| file.id == id.as_str());
        let mut own: Vec<_> = own.map(|file| file.file_name).collect();
        match (own.pop(), is_new) {
            (Some(name), _) if !own.is_empty() => {
                bail!(
                    "tenant {id} has two files, {name} and {}: remove one",
                    own[0]
                )
            }
            (Some(name), true) => bail!("there is a tenant {id} already: {name}"),
            (None, true) => Ok((format!("{id}.yml"), None)),
            (Some(name), false) => {
                let file = self.source.read(&name).await;
                Ok((name.clone(), Some(file.context(name)?)))
            }
            (None, false) => {
                bail!("there is no tenant {id}: `kura tenant list` shows all, `add` adds one")
            }
        }
    }

    /// Fails unless the server would put the new text in force.
    async fn check(&self, id: &TenantId, old: &str, new: &str) -> Result<()> {
        let new = self.parse(id, new)?;
        // Other tenants' files are read only if folders can be in each
        // other's way that were not before.
        let stays = |old: TenantSettings| {
            (old.bucket, old.layout) == (new.bucket.clone(), new.layout.clone())
        };
        if self.parse(id, old).is_ok_and(stays) {
            return Ok(());
        }
        let place = &self.deployment.config().tenants;
        place.keep_apart(&new).map_err(Error::msg)?;
        let broken = self.tenants.refresh().await?.broken;
        if let Some(other) = self.tenants.conflict(&new) {
            bail!(
                "folder {} of bucket {} contains, or lies in, a folder of tenant {other}",
                new.layout.folder(),
                new.bucket
            );
        }
        // Running servers may still serve what stood there before.
        if let Some((other, why)) = broken.iter().find(|(stem, _)| stem != id.as_str()) {
            bail!("the file of tenant {other} cannot be used, and the folder might be its: {why}");
        }
        Ok(())
    }

    /// Undoes what was written.
    async fn take_back(
        &self,
        file_name: &str,
        before: Option<&TenantFile>,
        now: &TenantFile,
    ) -> Result<(), WriteError> {
        match before {
            Some(before) => {
                let written = self.source.write(file_name, &before.text, Some(now));
                written.await.map(drop)
            }
            None => self.source.remove(file_name, now).await,
        }
    }

    fn parse(&self, id: &TenantId, text: &str) -> Result<TenantSettings, SettingsError> {
        settings::parse(id.clone(), text, self.files.default_bucket.as_deref())
    }
}

fn print(file_name: &str, differing: &[Difference]) -> Result<()> {
    println!("{file_name}");
    let rows: Vec<_> = differing
        .iter()
        .map(|it| {
            let (before, after) = (in_a_line(it.before.as_ref()), in_a_line(it.after.as_ref()));
            [format!("  {}", it.key), before, format!("→ {after}")]
        })
        .collect();
    Ok(table::print(&rows)?)
}

fn record(differing: &[Difference], [before, after]: [Option<String>; 2]) -> Map<String, Value> {
    let changes = differing.iter().map(|it| {
        let values = json!({"before": it.before, "after": it.after});
        (it.key.clone(), values)
    });
    let mut record = Map::new();
    for (name, value) in [
        ("changes", Value::Object(changes.collect())),
        ("version_before", json!(before)),
        ("version_after", json!(after)),
    ] {
        if !value.is_null() {
            record.insert(name.to_owned(), value);
        }
    }
    record
}
