//! What a request carries: its body, freed of the `aws-chunked` framing and
//! verified against everything that the request says about it.

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};

use super::checksum::{self, Algorithm, Checksum};
use super::content::{Content, hex};
use super::error::S3Error;

/// Chunks other than the last have at least this size in S3.
const MIN_CHUNK_BYTES: usize = 8192;

/// A verified request body.
pub struct Payload {
    /// The bytes.
    pub content: Content,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// The checksum that the client has declared, if it has.
    pub checksum: Option<Checksum>,
}

impl Payload {
    /// A body about which nothing was declared.
    pub fn of(content: Content) -> Self {
        Self {
            sha256: content.sha256(),
            content,
            checksum: None,
        }
    }

    /// Decodes and verifies a body as it came over the wire. The headers'
    /// `x-amz-checksum-*` is taken to be about the body.
    pub fn receive(headers: &HeaderMap, body: Content) -> Result<Self, S3Error> {
        let (mut payload, trailers) = Self::decode(headers, body)?;
        let in_headers = checksum::declared(headers)?;
        let in_trailers = checksum::declared(&trailers)?;
        if let Some((algorithm, value)) = in_headers.or(in_trailers) {
            let checksum = Checksum::of(algorithm, &payload.content);
            if checksum.value != value {
                return Err(S3Error::bad_digest(algorithm.name()));
            }
            payload.checksum = Some(checksum);
        }
        Ok(payload)
    }

    /// Decodes and verifies a body whose request declares a checksum of
    /// something else, or none.
    pub fn receive_unchecked(headers: &HeaderMap, body: Content) -> Result<Self, S3Error> {
        Ok(Self::decode(headers, body)?.0)
    }

    /// The checksum of the bytes, computed now if none was declared. S3 takes
    /// CRC-64/NVME then.
    pub fn checksum_or_default(&self) -> Checksum {
        let declared = self.checksum.clone();
        declared.unwrap_or_else(|| Checksum::of(Algorithm::Crc64Nvme, &self.content))
    }

    fn decode(headers: &HeaderMap, body: Content) -> Result<(Self, HeaderMap), S3Error> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match header("x-amz-content-sha256") {
            Some(hash) if hash.starts_with("STREAMING-") => {
                let length = header("x-amz-decoded-content-length");
                let length = length.and_then(|length| length.parse::<usize>().ok());
                let length = length.ok_or_else(missing_length)?;
                let (content, trailers) = Chunks::of(&body).decode()?;
                if content.len() != length {
                    return Err(incomplete_body());
                }
                let announced = header("x-amz-trailer").map(str::trim);
                if announced.is_some_and(|name| !trailers.contains_key(name)) {
                    return Err(malformed_trailer());
                }
                Ok((Self::of(content), trailers))
            }
            hash => {
                if !headers.contains_key(CONTENT_LENGTH) && body.len() > 0 {
                    return Err(missing_length());
                }
                let payload = Self::of(body);
                let unsigned = hash.is_none_or(|hash| hash == "UNSIGNED-PAYLOAD");
                if !unsigned && hash != Some(&hex(&payload.sha256)) {
                    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                    return Err(S3Error::new(400, "XAmzContentSHA256Mismatch", message));
                }
                Ok((payload, HeaderMap::new()))
            }
        }
    }
}

/// The part of an `aws-chunked` body that has not been read yet.
struct Chunks(VecDeque<Bytes>);

impl Chunks {
    fn of(body: &Content) -> Self {
        Self(body.pieces().iter().cloned().collect())
    }

    /// Splits the body into its data and its trailers.
    fn decode(mut self) -> Result<(Content, HeaderMap), S3Error> {
        let mut content = Content::default();
        let mut last_size = usize::MAX;
        loop {
            let header = self.line().ok_or_else(incomplete_body)?;
            let size = header.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid_chunk_size())?;
            if size == 0 {
                return Ok((content, self.trailers()?));
            }
            if last_size < MIN_CHUNK_BYTES {
                return Err(invalid_chunk_size());
            }
            last_size = size;
            self.move_data(size, &mut content)?;
            if self.line().as_deref() != Some("") {
                return Err(incomplete_body());
            }
        }
    }

    fn trailers(&mut self) -> Result<HeaderMap, S3Error> {
        let mut trailers = HeaderMap::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(malformed_trailer)?;
            let name = HeaderName::try_from(name).map_err(|_| malformed_trailer())?;
            let value = HeaderValue::try_from(value.trim()).map_err(|_| malformed_trailer())?;
            trailers.append(name, value);
        }
        Ok(trailers)
    }

    /// Reads up to the next CR LF, or returns `None` when there is none.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let piece = self.0.front_mut()?;
            line.push(piece.split_to(1)[0]);
            self.drop_used_piece();
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).ok()
    }

    fn move_data(&mut self, mut size: usize, content: &mut Content) -> Result<(), S3Error> {
        while size > 0 {
            let piece = self.0.front_mut().ok_or_else(incomplete_body)?;
            let data = piece.split_to(size.min(piece.len()));
            size -= data.len();
            content.push(data);
            self.drop_used_piece();
        }
        Ok(())
    }

    fn drop_used_piece(&mut self) {
        if self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
    }
}

fn missing_length() -> S3Error {
    let message = "You must provide the Content-Length HTTP header.";
    S3Error::new(411, "MissingContentLength", message)
}

fn incomplete_body() -> S3Error {
    let message = "The request body terminated unexpectedly";
    S3Error::new(400, "IncompleteBody", message)
}

fn invalid_chunk_size() -> S3Error {
    let message = "Only the last chunk is allowed to have a size less than 8192 bytes";
    S3Error::new(403, "InvalidChunkSizeError", message)
}

fn malformed_trailer() -> S3Error {
    let message = "The request contained trailing data that was not well-formed";
    S3Error::new(400, "MalformedTrailerError", message)
}
