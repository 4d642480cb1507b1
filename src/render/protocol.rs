//! What the server and a worker say to each other over their socket.
//!
//! A frame is a tag (one byte), a length (four bytes, big-endian) and so many
//! bytes. The worker greets once. The server sends a [`Job`], and when the
//! worker says that it has begun the source in chunks, and its end. The worker
//! reports once, perhaps before the end; then it reads on to the end, to be
//! ready for the next job.
//!
//! A worker may have been taken over by the picture it looked at. What it says
//! is a [`Report`] to the letter, or it is killed: [`Report::parse`] is a pure
//! function of its bytes and holds nothing that was not checked.

use std::time::Duration;

use thiserror::Error;

use super::format::Format;
use super::{Limits, Order, Refusal, Rendered};

/// The bytes of tag and length.
pub const HEADER_BYTES: usize = 5;
/// Most bytes of the source in one frame.
pub const MAX_CHUNK_BYTES: usize = 256 << 10;
/// Most bytes of a thumbnail. A BMP of the largest size takes 2.6 MB.
pub const MAX_THUMBNAIL_BYTES: usize = 4 << 20;
/// Changes when the protocol does.
const VERSION: u8 = 1;
/// Most bytes of a text for the log.
const MAX_TEXT_BYTES: usize = 256;
/// CPU time and format, before the bytes of a thumbnail.
const RENDERED_BYTES: usize = 9;
/// The formats of thumbnails, in the order of their numbers.
const FORMATS: [Format; 5] = [
    Format::Jpeg,
    Format::Png,
    Format::Gif,
    Format::Bmp,
    Format::Webp,
];
/// The refusals, in the order of their numbers.
const REFUSALS: [Refusal; 4] = [
    Refusal::NotAnImage,
    Refusal::Broken,
    Refusal::TooLarge,
    Refusal::TooCostly,
];

/// Something that cannot have been said by this protocol.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not of this protocol")]
pub struct Violation;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// To the worker: a [`Job`].
    Job,
    /// To the worker: bytes of the source.
    Chunk,
    /// To the worker: nothing comes after what was sent of the source.
    End,
    /// From the worker: [`Report::Ready`].
    Ready,
    /// From the worker: [`Report::Unable`].
    Unable,
    /// From the worker: [`Report::Begun`].
    Begun,
    /// From the worker: [`Report::Rendered`].
    Rendered,
    /// From the worker: [`Report::Refused`].
    Refused,
    /// From the worker: [`Report::Panicked`].
    Panicked,
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub tag: Tag,
    /// How many bytes of it.
    pub length: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Violation`] when no frame begins like that.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, Violation> {
        let [tag, length @ ..] = bytes;
        let (tag, lengths) = match tag {
            b'J' => (Tag::Job, JOB_BYTES..=JOB_BYTES),
            b'C' => (Tag::Chunk, 1..=MAX_CHUNK_BYTES),
            b'E' => (Tag::End, 0..=0),
            b'G' => (Tag::Ready, 3..=3),
            b'U' => (Tag::Unable, 0..=MAX_TEXT_BYTES),
            b'B' => (Tag::Begun, 0..=0),
            b'R' => (
                Tag::Rendered,
                RENDERED_BYTES..=RENDERED_BYTES + MAX_THUMBNAIL_BYTES,
            ),
            b'X' => (Tag::Refused, RENDERED_BYTES..=RENDERED_BYTES),
            b'P' => (Tag::Panicked, 8..=8 + MAX_TEXT_BYTES),
            _ => return Err(Violation),
        };
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Violation)?;
        if !lengths.contains(&length) {
            return Err(Violation);
        }
        Ok(Self { tag, length })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let tag = match self.tag {
            Tag::Job => b'J',
            Tag::Chunk => b'C',
            Tag::End => b'E',
            Tag::Ready => b'G',
            Tag::Unable => b'U',
            Tag::Begun => b'B',
            Tag::Rendered => b'R',
            Tag::Refused => b'X',
            Tag::Panicked => b'P',
        };
        // No frame is that long.
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        [tag, a, b, c, d]
    }

    fn frame(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut frame = Self { tag, length }.to_bytes().to_vec();
        for part in parts {
            frame.extend_from_slice(part);
        }
        frame
    }
}

/// The bytes of a [`Job`] without its header.
pub const JOB_BYTES: usize = 28;

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is to be made.
    pub order: Order,
    /// What the picture may be like.
    pub limits: Limits,
}

impl Job {
    /// Its frame.
    #[must_use]
    pub fn to_frame(self) -> Vec<u8> {
        let limits = self.limits;
        Header::frame(
            Tag::Job,
            &[
                &self.order.side.to_be_bytes(),
                &limits.source_bytes.to_be_bytes(),
                &limits.pixels.to_be_bytes(),
                &limits.frame_bytes.to_be_bytes(),
            ],
        )
    }

    /// Reads what follows the header.
    ///
    /// # Errors
    /// [`Violation`] when it is too short.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Violation> {
        Ok(Self {
            order: Order {
                side: u32::from_be_bytes(take(&mut bytes)?),
            },
            limits: Limits {
                source_bytes: u64::from_be_bytes(take(&mut bytes)?),
                pixels: u64::from_be_bytes(take(&mut bytes)?),
                frame_bytes: u64::from_be_bytes(take(&mut bytes)?),
            },
        })
    }
}

/// What holds a worker in, beyond what it would not work without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walls {
    /// The version of landlock in force; 0 where the kernel has none.
    pub landlock_abi: u8,
    /// True when it has a font for text whose own is not embedded.
    pub fallback_font: bool,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is behind its walls and waits for a job.
    Ready(Walls),
    /// It cannot be, and says for the log why not.
    Unable(String),
    /// It has read the job, and whatever was left of the one before.
    Begun,
    /// The thumbnail, and the CPU time that it took.
    Rendered(Duration, Rendered),
    /// There will be none.
    Refused(Duration, Refusal),
    /// A decoder has panicked, at this place in its code.
    Panicked(Duration, String),
}

impl Report {
    /// Its frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        match self {
            Self::Ready(walls) => {
                let walls = [VERSION, walls.landlock_abi, u8::from(walls.fallback_font)];
                Header::frame(Tag::Ready, &[&walls])
            }
            Self::Unable(text) => Header::frame(Tag::Unable, &[printable(text).as_bytes()]),
            Self::Begun => Header::frame(Tag::Begun, &[]),
            Self::Rendered(cpu, thumbnail) => {
                let format = number_of(&FORMATS, &thumbnail.format);
                let parts: [&[u8]; 3] = [&micros(*cpu), &[format], &thumbnail.bytes];
                Header::frame(Tag::Rendered, &parts)
            }
            Self::Refused(cpu, refusal) => {
                let refusal = number_of(&REFUSALS, refusal);
                Header::frame(Tag::Refused, &[&micros(*cpu), &[refusal]])
            }
            Self::Panicked(cpu, place) => {
                Header::frame(Tag::Panicked, &[&micros(*cpu), printable(place).as_bytes()])
            }
        }
    }

    /// Reads the report at the beginning of `bytes`, and says how many of
    /// them it took; `None` when there have to be more.
    ///
    /// # Errors
    /// [`Violation`] as soon as it cannot become a report.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((header, rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let Header { tag, length } = Header::parse(*header)?;
        if matches!(tag, Tag::Job | Tag::Chunk | Tag::End) {
            return Err(Violation);
        }
        let Some(mut payload) = rest.get(..length) else {
            return Ok(None);
        };
        let report = match tag {
            Tag::Ready => match payload {
                [VERSION, landlock_abi, font @ (0 | 1)] => Self::Ready(Walls {
                    landlock_abi: *landlock_abi,
                    fallback_font: *font == 1,
                }),
                _ => return Err(Violation),
            },
            Tag::Unable => Self::Unable(text(payload)?),
            Tag::Begun => Self::Begun,
            Tag::Rendered => {
                let cpu = cpu(&mut payload)?;
                let [number] = take(&mut payload)?;
                let format = *FORMATS.get(usize::from(number)).ok_or(Violation)?;
                // Whatever the browser is told that it is, it begins as such.
                if Format::of(payload) != Some(format) {
                    return Err(Violation);
                }
                let bytes = payload.to_vec();
                Self::Rendered(cpu, Rendered { format, bytes })
            }
            Tag::Refused => {
                let cpu = cpu(&mut payload)?;
                let [number] = take(&mut payload)?;
                let refusal = REFUSALS.get(usize::from(number)).ok_or(Violation)?;
                Self::Refused(cpu, *refusal)
            }
            _ => Self::Panicked(cpu(&mut payload)?, text(payload)?),
        };
        Ok(Some((report, HEADER_BYTES + length)))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Violation> {
    let (first, rest) = bytes.split_first_chunk().ok_or(Violation)?;
    *bytes = rest;
    Ok(*first)
}

fn micros(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_micros())
        .unwrap_or(u64::MAX)
        .to_be_bytes()
}

fn cpu(bytes: &mut &[u8]) -> Result<Duration, Violation> {
    take(bytes).map(|micros| Duration::from_micros(u64::from_be_bytes(micros)))
}

/// The number of what the protocol has one for; else one that nobody has.
fn number_of<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let number = all.iter().position(|other| other == one);
    number.and_then(|n| n.try_into().ok()).unwrap_or(u8::MAX)
}

/// As much of a text as may be sent.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_printable(c) { c } else { '?' })
        .take(MAX_TEXT_BYTES)
        .collect()
}

fn is_printable(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

fn text(bytes: &[u8]) -> Result<String, Violation> {
    let text = str::from_utf8(bytes).map_err(|_| Violation)?;
    text.chars()
        .all(is_printable)
        .then(|| text.to_owned())
        .ok_or(Violation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CPU: Duration = Duration::from_micros(1234);

    fn reports() -> Vec<Report> {
        let gif = |length| {
            let mut bytes = b"GIF89a".to_vec();
            bytes.resize(length, 0);
            Rendered {
                format: Format::Gif,
                bytes,
            }
        };
        let mut reports = vec![
            Report::Ready(Walls {
                landlock_abi: 7,
                fallback_font: true,
            }),
            Report::Unable("no seccomp".into()),
            Report::Begun,
            Report::Rendered(CPU, gif(6)),
            Report::Rendered(CPU, gif(MAX_THUMBNAIL_BYTES)),
            Report::Panicked(CPU, "src/lib.rs:1".into()),
        ];
        reports.extend(REFUSALS.map(|refusal| Report::Refused(CPU, refusal)));
        reports
    }

    #[test]
    fn reports_are_read_as_they_were_written() {
        for report in reports() {
            let mut frame = report.to_frame();
            let length = frame.len();
            for cut in [0, 1, HEADER_BYTES - 1, length / 2, length - 1] {
                assert_eq!(Report::parse(&frame[..cut]), Ok(None));
            }
            frame.push(b'?');
            assert_eq!(Report::parse(&frame), Ok(Some((report, length))));
        }
    }

    #[test]
    fn jobs_are_read_as_they_were_written() {
        let job = Job {
            order: Order { side: 100 },
            limits: Limits {
                source_bytes: 1,
                pixels: u64::MAX,
                frame_bytes: 3,
            },
        };
        let frame = job.to_frame();
        let (header, rest) = frame.split_first_chunk().unwrap();
        let length = JOB_BYTES;
        let tag = Tag::Job;
        assert_eq!(Header::parse(*header), Ok(Header { tag, length }));
        assert_eq!(Job::parse(rest), Ok(job));
    }

    #[test]
    fn what_no_worker_would_say_is_seen_from_its_first_bytes() {
        let too_long = Header {
            tag: Tag::Rendered,
            length: RENDERED_BYTES + MAX_THUMBNAIL_BYTES + 1,
        };
        let html = Report::Rendered(
            CPU,
            Rendered {
                format: Format::Gif,
                bytes: b"<script>".to_vec(),
            },
        );
        let page = Report::Rendered(
            CPU,
            Rendered {
                format: Format::Pdf,
                bytes: b"%PDF-1.7".to_vec(),
            },
        );
        for said in [
            &too_long.to_bytes()[..],
            &html.to_frame(),
            &page.to_frame(),
            b"J\0\0\0\x1c",
            b"C\0\0\0\x01",
            b"E\0\0\0\0",
            b"?\0\0\0\0",
            b"G\0\0\0\x03\x02\0\0",
            b"G\0\0\0\x03\x01\0\x02",
            b"U\0\0\0\x01\x1b",
            b"X\0\0\0\x09\0\0\0\0\0\0\0\0\x04",
        ] {
            assert_eq!(Report::parse(said), Err(Violation), "{said:?}");
        }
    }

    #[test]
    fn texts_are_cut_and_cleaned_when_they_are_sent() {
        let frame = Report::Unable("é\n".repeat(1000)).to_frame();
        let (report, _) = Report::parse(&frame).unwrap().unwrap();
        assert_eq!(report, Report::Unable("?".repeat(MAX_TEXT_BYTES)));
    }

    proptest! {
        #[test]
        fn nothing_said_is_read_beyond_its_end(
            tag in prop::sample::select(&b"GUBRXPJ?"[..]),
            length in 0_u32..300,
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut said = vec![tag];
            said.extend(length.to_be_bytes());
            said.extend(rest);
            if let Ok(Some((report, used))) = Report::parse(&said) {
                prop_assert!(used <= said.len());
                prop_assert_eq!(report.to_frame(), &said[..used]);
            }
        }
    }
}
