//! Brings the directory in line with what was rendered, or says what would
//! have to be done.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ArgMatches;

use super::Outcome;
use super::clash::refuse_taken;
use super::diff::diff;
use super::folder::{Existing, Folder};
use super::report::{Fault, Refused, Report};
use super::template::Rendered;
use crate::ops::progress::count;
use crate::ops::site::Site;

/// What a command that is only to reload a web server has no use for: the
/// server that it starts would give it to every program of its sites.
const SECRETS: &[&str] = &[
    "KURA_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// What is done with the files.
pub(super) struct Task {
    output: PathBuf,
    mode: u32,
    check: bool,
    on_change: Option<String>,
    json: bool,
}

impl Task {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let mode = matches.get_one::<String>("mode");
        Self {
            output: matches.get_one("output").cloned().unwrap_or_default(),
            mode: match mode.map(String::as_str) {
                Some("0640") => 0o640,
                _ => 0o600,
            },
            check: matches.get_flag("check"),
            on_change: matches.get_one("on-change").cloned(),
            json: matches.get_flag("json"),
        }
    }

    /// Does it, and prints what was done.
    ///
    /// # Errors
    /// When files could not be read or written, a tenant was refused, or
    /// something would change that must only be looked at.
    pub(super) fn run(&self, site: &Site, mut outcomes: Vec<Outcome>) -> Result<()> {
        let folder = if self.check {
            Folder::look(&self.output, self.mode)
        } else {
            Folder::open(&self.output, self.mode)?
        };
        let broken = site.broken.iter().map(|(stem, _)| stem.clone());
        refuse_taken(&folder, broken.collect(), &mut outcomes)?;
        let mut report = Report::default();
        for (stem, why) in &site.broken {
            report.refused.push(Refused {
                tenant: stem.clone(),
                file: super::file_of(site, stem).0,
                fault: Fault::of_file(why),
            });
        }
        let known: HashSet<_> = outcomes.iter().map(|outcome| outcome.id.clone()).collect();
        for outcome in outcomes {
            let kept = match outcome.rendered {
                Ok(rendered) => self.keep(&folder, &outcome.id, &rendered, &mut report)?,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = kept {
                // What it has may be from before, with its token in it.
                if outcome.suspended && matches!(folder.existing(&outcome.id)?, Existing::Ours(..))
                {
                    self.change(&folder, || folder.remove(&outcome.id))?;
                    report.removed.push(outcome.id.clone());
                }
                report.refused.push(Refused {
                    tenant: outcome.id,
                    file: outcome.file_name,
                    fault,
                });
            }
        }
        for id in folder.ours()? {
            let broken = site.broken.iter().any(|(stem, _)| *stem == id);
            if !broken && !known.contains(&id) {
                self.change(&folder, || folder.remove(&id))?;
                report.removed.push(id);
            }
        }
        self.tell(&folder, &report)?;
        self.finish(&folder, &report)
    }

    /// Brings one tenant's file up to date, unless it is not ours.
    fn keep(
        &self,
        folder: &Folder,
        id: &str,
        rendered: &Rendered,
        report: &mut Report,
    ) -> Result<Result<(), Fault>> {
        match folder.existing(id)? {
            Existing::Foreign => {
                let path = folder.path_of(id);
                let problem = "was not made by kura vhosts and stays: move it away";
                return Ok(Err(Fault::of_file(&format!(
                    "{} {problem}",
                    path.display()
                ))));
            }
            Existing::Ours(text, mode) if text == rendered.text && mode == self.mode => {
                report.unchanged += 1;
                return Ok(Ok(()));
            }
            Existing::Ours(text, mode) => {
                if self.check && !self.json {
                    println!("{}", folder.path_of(id).display());
                    if mode != self.mode {
                        println!("- mode {mode:04o}\n+ mode {:04o}", self.mode);
                    }
                    println!("{}", diff(&text, rendered));
                }
                report.changed.push(id.to_owned());
            }
            Existing::Absent => report.new.push(id.to_owned()),
        }
        self.change(folder, || folder.write(id, &rendered.text))?;
        Ok(Ok(()))
    }

    /// Does something to the files, unless they are only to be looked at.
    fn change(&self, folder: &Folder, change: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.check {
            return Ok(());
        }
        if self.on_change.is_some() {
            folder.set_pending()?;
        }
        change()
    }

    fn tell(&self, folder: &Folder, report: &Report) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(report)?);
            return Ok(());
        }
        for refused in &report.refused {
            eprintln!("kura: {refused}");
        }
        print!("{}", report.text(|id| folder.path_of(id)));
        Ok(())
    }

    /// Tells the web server, and how it all went.
    fn finish(&self, folder: &Folder, report: &Report) -> Result<()> {
        if let Some(command) = &self.on_change
            && folder.is_pending()
        {
            // Standard output has the report alone.
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).stdout(io::stderr());
            for name in SECRETS {
                shell.env_remove(name);
            }
            let status = shell.status();
            let status = status.context("the command of --on-change cannot be run")?;
            ensure!(
                status.success(),
                "the command of --on-change failed ({status}); the next run tries it again"
            );
            folder.unset_pending()?;
        }
        let (refused, changes) = (report.refused.len(), report.changes());
        ensure!(
            refused == 0,
            "{refused} refused: what they had stays as it was, unless they are suspended"
        );
        ensure!(
            !self.check || changes == 0,
            "{} would change",
            count(changes as u64, "file")
        );
        Ok(())
    }
}
