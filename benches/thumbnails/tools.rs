//! The other engines, each run as its users run it, with one thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `ImageMagick`, where Debian has it: a wrapper earlier on the path would count.
pub(crate) const CONVERT: &str = "/usr/bin/convert";
/// Repeats a command.
const LOOP: &str = r#"n=$1; shift; while [ "$n" -gt 0 ]; do "$@" || exit; n=$((n - 1)); done"#;
/// What `ImageMagick` does with a PDF, in two steps, since Debian's policy
/// forbids it to: Ghostscript as in its `delegates.xml`, then itself.
const CONVERT_PDF: &str = r#"
gs -q -dQUIET -dSAFER -dBATCH -dNOPAUSE -dNOPROMPT -dMaxBitmap=500000000 -dAlignToPixels=0 -dGridFitTT=2 \
  -sDEVICE=pngalpha -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -r72x72 -dFirstPage=1 -dLastPage=1 \
  -sOutputFile="$3.page" "$1" && /usr/bin/convert "$3.page" -thumbnail "$2" "png:$3"
"#;

/// An engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `vipsthumbnail`: many files in one process.
    Vips,
    /// `ImageMagick`'s `convert`, as Redmine runs it: a process for each file.
    Magick,
    /// `mutool draw`: many files in one process.
    MuPdf,
}

/// What a thumbnail took.
pub(crate) struct Usage {
    /// CPU time, in user and system mode.
    pub(crate) milliseconds: f64,
    /// Peak memory, in MiB.
    pub(crate) peak: f64,
}

impl Tool {
    /// Makes the thumbnail of `file` often enough to tell the time that it takes.
    pub(crate) fn round(self, file: &Path, side: u32, scratch: &Path) -> Usage {
        const ROUND_MILLISECONDS: f64 = 1200.0;
        // Its memory is that of one: vips remembers what it has made.
        let one = self.run(file, side, scratch, 1);
        let times = (ROUND_MILLISECONDS / one.milliseconds).clamp(2.0, 40.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "2 to 40"
        )]
        let many = self.run(file, side, scratch, times as usize);
        Usage {
            peak: one.peak,
            ..many
        }
    }

    /// Where it leaves the thumbnail.
    pub(crate) fn thumbnail(self, file: &Path, scratch: &Path) -> PathBuf {
        match self {
            Self::Vips => scratch.join(format!("0-vips.{}", Self::extension(file))),
            Self::Magick => scratch.join("magick.thumb"),
            Self::MuPdf => scratch.join("mupdf.png"),
        }
    }

    fn run(self, file: &Path, side: u32, scratch: &Path, times: usize) -> Usage {
        let arguments = match self {
            Self::Vips => Self::vips(file, side, scratch, times),
            Self::Magick => Self::magick(file, side, scratch, times),
            Self::MuPdf => Self::mupdf(file, side, scratch, times),
        };
        let report = scratch.join("time");
        let mut command = Command::new("time");
        command.args(["-f", "%U %S %M", "-o"]).arg(&report);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .env("VIPS_CONCURRENCY", "1")
            .env("MAGICK_THREAD_LIMIT", "1");
        let status = command.status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
        let report = fs::read_to_string(report).unwrap();
        let numbers: Vec<f64> = report
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        let [user, system, peak_kib] = numbers[..] else {
            panic!("{report}");
        };
        #[allow(clippy::cast_precision_loss, reason = "at most 40")]
        let milliseconds = (user + system) * 1000.0 / times as f64;
        let peak = peak_kib / 1024.0;
        Usage { milliseconds, peak }
    }

    /// A name for each time: vips remembers what it has read.
    fn vips(file: &Path, side: u32, scratch: &Path, times: usize) -> Vec<String> {
        let output = scratch.join(format!("%s-vips.{}[strip]", Self::extension(file)));
        let mut arguments = vec!["vipsthumbnail".into(), "--size".into(), geometry(side)];
        arguments.extend(["--output".into(), text(&output)]);
        for n in 0..times {
            let link = scratch.join(n.to_string());
            let _ = std::os::unix::fs::symlink(file, &link);
            arguments.push(text(&link));
        }
        arguments
    }

    /// The commands of Redmine's `lib/redmine/thumbnail.rb`.
    fn magick(file: &Path, side: u32, scratch: &Path, times: usize) -> Vec<String> {
        let (source, square) = (text(file), geometry(side));
        let output = text(&Self::Magick.thumbnail(file, scratch));
        let command = if file.extension() == Some("pdf".as_ref()) {
            ["sh", "-c", CONVERT_PDF, "sh", &source, &square, &output].to_vec()
        } else {
            [
                CONVERT,
                &source,
                "-auto-orient",
                "-thumbnail",
                &square,
                &output,
            ]
            .to_vec()
        };
        let times = times.to_string();
        let repeat = ["sh", "-c", LOOP, "sh", &times];
        let all = repeat.iter().copied().chain(command);
        all.map(str::to_owned).collect()
    }

    fn mupdf(file: &Path, side: u32, scratch: &Path, times: usize) -> Vec<String> {
        let output = text(&Self::MuPdf.thumbnail(file, scratch));
        let side = side.to_string();
        let fixed = [
            "mutool", "draw", "-q", "-o", &output, "-w", &side, "-h", &side,
        ];
        let files = (0..times).flat_map(|_| [text(file), "1".to_owned()]);
        fixed.into_iter().map(str::to_owned).chain(files).collect()
    }

    /// vips is asked for the format that Kura writes, too.
    fn extension(file: &Path) -> &str {
        match file.extension().unwrap().to_str().unwrap() {
            "avif" => "webp",
            own => own,
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Fits into a square, and is never enlarged.
fn geometry(side: u32) -> String {
    format!("{side}x{side}>")
}

/// The machine and the versions of everything on it.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or("unknown")
        .trim_start_matches([' ', '\t', ':']);
    let count = std::thread::available_parallelism().unwrap();
    let versions = [
        ("uname", "-sr"),
        ("vips", "--version"),
        (CONVERT, "--version"),
        ("mutool", "-v"),
        ("nginx", "-v"),
    ];
    let versions = versions.map(|(program, option)| {
        let Ok(output) = Command::new(program).arg(option).output() else {
            return format!("no {program}");
        };
        // Some say it where errors go.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().next().unwrap_or_default();
        line.trim_start_matches("nginx version: ")
            .trim_start_matches("Version: ")
            .split(" Q16")
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    format!("{count} × {model}; {}.", versions.join(", "))
}
