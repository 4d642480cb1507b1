//! What has been found, a line each, with what to do about it.

use std::fmt;

use anyhow::{Result, ensure};
use serde::Serialize;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    /// It works, and will not in all cases.
    Warning,
    /// Something that Kura needs is not there.
    Failure,
}

impl fmt::Display for Grade {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        })
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    grade: Grade,
    /// What was looked at.
    check: &'static str,
    /// Which bucket or tenant, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// What is so.
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn new(grade: Grade, check: &'static str, text: impl Into<String>) -> Self {
        Self {
            grade,
            check,
            about: None,
            text: text.into(),
            hint: None,
        }
    }

    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Grade::Ok, check, text)
    }

    pub(super) fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Grade::Warning, check, text)
    }

    pub(super) fn failure(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(Grade::Failure, check, text)
    }

    pub(super) fn about(mut self, about: &str) -> Self {
        self.about = Some(about.to_owned());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grade, check, .. } = self;
        write!(out, "{grade:<7}  {check:<18}  ")?;
        if let Some(about) = &self.about {
            write!(out, "{about}: ")?;
        }
        write!(out, "{}", self.text)?;
        let hint = self.hint.iter().flat_map(|hint| hint.lines());
        hint.into_iter()
            .try_for_each(|line| write!(out, "\n{:9}→ {line}", ""))
    }
}

/// All findings. They are printed as they come, but as JSON all at the end.
pub(super) struct Report {
    json: bool,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        let findings = Vec::new();
        Self { json, findings }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if !self.json {
            println!("{finding}");
        }
        self.findings.push(finding);
    }

    /// # Errors
    /// When anything is a failure.
    pub(super) fn finish(self) -> Result<()> {
        let count = |grade| self.findings.iter().filter(|it| it.grade == grade).count();
        let (failures, warnings) = (count(Grade::Failure), count(Grade::Warning));
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self.findings)?);
        } else {
            println!(
                "\nfailures: {failures}, warnings: {warnings}, ok: {}",
                count(Grade::Ok)
            );
        }
        ensure!(failures == 0, "{failures} of what Kura needs is not right");
        Ok(())
    }
}
