//! The errors that the server answers with.

use hyper::{Response, StatusCode};

use super::content::Content;
use super::xml::{self, Writer};

/// What an operation comes to.
pub type Outcome = Result<Response<Content>, S3Error>;

/// An S3 error: an HTTP status, and an error code in an XML document.
#[derive(Clone, Debug)]
pub struct S3Error {
    status: StatusCode,
    code: String,
    message: String,
}

impl S3Error {
    /// An error with any status and code.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a valid status"),
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// A header or an argument has a value that makes no sense.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    /// The request contradicts itself, or what it refers to.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }

    /// The body is not the XML document that the operation takes.
    pub fn malformed_xml() -> Self {
        Self::new(
            400,
            "MalformedXML",
            "The XML you provided was not well-formed",
        )
    }

    /// A checksum is not the one of the bytes that were received.
    pub fn bad_digest(algorithm: &str) -> Self {
        let message =
            format!("The {algorithm} you specified did not match the calculated checksum.");
        Self::new(400, "BadDigest", message)
    }

    /// There is no such object.
    pub fn no_such_key() -> Self {
        Self::new(404, "NoSuchKey", "The specified key does not exist.")
    }

    /// A condition of the request does not hold.
    pub fn precondition_failed() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold";
        Self::new(412, "PreconditionFailed", message)
    }

    /// This server does not know what it was asked for.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("{what} is not implemented"))
    }

    /// An error about credentials, with the status that S3 gives it.
    pub fn credentials(code: &str) -> Self {
        let status = match code {
            "ExpiredToken" | "InvalidToken" | "AuthorizationHeaderMalformed" => 400,
            _ => 403,
        };
        Self::new(status, code, "The credentials are refused by the test.")
    }

    /// The error code, such as `NoSuchKey`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The explanation for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The response that reports the error.
    pub fn to_response(&self) -> Response<Content> {
        let mut response = xml::response("Error", |error: &mut Writer| {
            error.text("Code", &self.code);
            error.text("Message", &self.message);
        });
        *response.status_mut() = self.status;
        response
    }
}

impl From<hyper::http::Error> for S3Error {
    fn from(error: hyper::http::Error) -> Self {
        Self::new(500, "InternalError", error.to_string())
    }
}
