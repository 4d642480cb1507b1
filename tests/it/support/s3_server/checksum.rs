//! The checksums that S3 verifies and keeps with objects.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use hyper::HeaderMap;
use hyper::http::response::Builder;

use super::content::Content;
use super::error::S3Error;
use super::xml::Writer;

/// A checksum algorithm. Of those of S3 only SHA-1 is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32/ISO-HDLC, as in Ethernet and gzip.
    Crc32,
    /// CRC-32/ISCSI, also called Castagnoli.
    Crc32c,
    /// CRC-64/NVME, the default of S3.
    Crc64Nvme,
    /// SHA-256.
    Sha256,
}

/// What a checksum of an object with several parts covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The bytes of the object.
    FullObject,
    /// The checksums of the parts.
    Composite,
}

/// A checksum of an object, or of a part.
#[derive(Clone, Debug)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// What it was computed from.
    pub coverage: Coverage,
    /// The value as S3 writes it: in Base64, and with the number of the parts
    /// behind it when it is composite.
    pub value: String,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha256];

    /// The name as it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of a name.
    pub fn named(name: &str) -> Result<Self, S3Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| S3Error::not_implemented(&format!("Checksum algorithm {name}")))
    }

    /// The header that carries a value, such as `x-amz-checksum-crc32`.
    pub fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_lowercase())
    }

    /// The XML element that carries a value, such as `ChecksumCRC32`.
    pub fn element(self) -> String {
        format!("Checksum{}", self.name())
    }

    /// The kind of checksum that a multipart upload gets unless it asks.
    pub fn default_coverage(self) -> Coverage {
        match self {
            Self::Crc64Nvme => Coverage::FullObject,
            Self::Crc32 | Self::Crc32c | Self::Sha256 => Coverage::Composite,
        }
    }

    /// Whether multipart uploads can have such a checksum.
    pub fn allows(self, coverage: Coverage) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c => true,
            Self::Crc64Nvme | Self::Sha256 => coverage == self.default_coverage(),
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha256 => None,
        }
    }

    fn digest(self, content: &Content) -> Vec<u8> {
        let Some(crc) = self.crc() else {
            return content.sha256().to_vec();
        };
        let mut digest = crc_fast::Digest::new(crc);
        for piece in content.pieces() {
            digest.update(piece);
        }
        self.crc_bytes(digest.finalize())
    }

    fn crc_bytes(self, crc: u64) -> Vec<u8> {
        let width = if self == Self::Crc64Nvme { 8 } else { 4 };
        crc.to_be_bytes()[8 - width..].to_vec()
    }
}

impl Coverage {
    /// The name as it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The coverage of a name.
    pub fn named(name: &str) -> Result<Self, S3Error> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|coverage| coverage.name() == name)
            .ok_or_else(|| {
                S3Error::invalid_request("Value for x-amz-checksum-type header is invalid.")
            })
    }
}

impl Checksum {
    /// The checksum of all bytes.
    pub fn of(algorithm: Algorithm, content: &Content) -> Self {
        Self {
            algorithm,
            coverage: Coverage::FullObject,
            value: BASE64_STANDARD.encode(algorithm.digest(content)),
        }
    }

    /// The checksum of an object from the checksums and the sizes of its
    /// parts, which all have the algorithm given.
    pub fn of_parts(algorithm: Algorithm, coverage: Coverage, parts: &[(&Self, usize)]) -> Self {
        let value = if let (Coverage::FullObject, Some(crc)) = (coverage, algorithm.crc()) {
            let mut whole = crc_fast::checksum(crc, b"");
            for (part, size) in parts {
                whole = crc_fast::checksum_combine(crc, whole, part.as_crc(), *size as u64);
            }
            BASE64_STANDARD.encode(algorithm.crc_bytes(whole))
        } else {
            let mut joined = Content::default();
            for (part, _) in parts {
                joined.push(part.raw().into());
            }
            let digest = BASE64_STANDARD.encode(algorithm.digest(&joined));
            format!("{digest}-{}", parts.len())
        };
        Self {
            algorithm,
            coverage,
            value,
        }
    }

    fn as_crc(&self) -> u64 {
        self.raw()
            .iter()
            .fold(0, |crc, &byte| (crc << 8) | u64::from(byte))
    }

    fn raw(&self) -> Vec<u8> {
        BASE64_STANDARD
            .decode(&self.value)
            .expect("the checksum of a part is Base64")
    }

    /// Whether this is the checksum of the bytes with an algorithm.
    pub fn covers_bytes_with(&self, algorithm: Algorithm) -> bool {
        self.coverage == Coverage::FullObject && self.algorithm == algorithm
    }

    /// Adds the headers that tell a client the checksum.
    pub fn add_to(&self, response: Builder) -> Builder {
        response
            .header(self.algorithm.header(), &self.value)
            .header("x-amz-checksum-type", self.coverage.name())
    }

    /// Writes the elements that tell a client the checksum.
    pub fn write_to(&self, element: &mut Writer) {
        element.text(&self.algorithm.element(), &self.value);
        element.text("ChecksumType", self.coverage.name());
    }
}

/// The checksum that headers, or trailers, declare, if they declare one.
pub fn declared(fields: &HeaderMap) -> Result<Option<(Algorithm, &str)>, S3Error> {
    if fields.contains_key("x-amz-checksum-sha1") {
        return Err(S3Error::not_implemented("Checksum algorithm SHA1"));
    }
    let mut declared = Algorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = fields.get(algorithm.header())?;
        Some((algorithm, value.to_str().unwrap_or_default()))
    });
    let first = declared.next();
    if declared.next().is_some() {
        return Err(S3Error::invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    Ok(first)
}
