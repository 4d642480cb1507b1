//! Things that go wrong on purpose.

/// What happens to a request. A body that is not longer than the count of a
/// fault is received or sent whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused with this status and error code, after its body
    /// has been read. Nothing is carried out.
    Status { code: u16, s3_code: String },
    /// The connection is closed after this many bytes of the request's body.
    /// Nothing is carried out.
    ResetRequestAfter(usize),
    /// The operation is carried out. The connection is closed after this many
    /// bytes of the response's body, of which `Content-Length` promises all.
    ResetResponseAfter(usize),
    /// Like [`ResetResponseAfter`](Self::ResetResponseAfter), but the
    /// connection stays open and silent.
    StallResponseAfter(usize),
    /// The request is read and never answered. Nothing is carried out.
    StallRequest,
    /// The operation is carried out. The response is well-formed and its
    /// `Content-Length` correct, but only this many bytes of the body are in it.
    ShortBody(usize),
    /// The operation is carried out. The first byte of the response's body is
    /// altered.
    WrongBytes,
    /// The response has status 200 and an error document. Nothing is carried
    /// out.
    OkWithErrorBody { s3_code: String },
    /// The operation is carried out, and the connection is closed instead of a
    /// response.
    LostSuccess,
}

/// Says which requests suffer a fault.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// The operation, such as `"PutObject"`; any if there is none.
    pub operation: Option<&'static str>,
    /// A text in the key; any if there is none. Keys of operations on buckets
    /// are empty.
    pub key_contains: Option<String>,
    /// How many such requests pass before the first one that fails.
    pub skip: usize,
    /// How many requests fail.
    pub times: usize,
    /// What happens to them.
    pub fault: Fault,
}

impl Fault {
    /// A refusal, such as `Fault::status(503, "SlowDown")`.
    #[must_use]
    pub fn status(code: u16, s3_code: &str) -> Self {
        Self::Status {
            code,
            s3_code: s3_code.to_owned(),
        }
    }
}

impl FaultRule {
    /// The next request of an operation fails.
    #[must_use]
    pub fn once(operation: &'static str, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            key_contains: None,
            skip: 0,
            times: 1,
            fault,
        }
    }

    fn concerns(&self, operation: &str, key: &str) -> bool {
        let wanted = self.key_contains.as_deref().unwrap_or_default();
        self.operation.is_none_or(|name| name == operation) && key.contains(wanted)
    }
}

/// The rules in the order in which they were added.
#[derive(Default)]
pub struct FaultQueue(Vec<FaultRule>);

impl FaultQueue {
    /// Adds a rule.
    pub fn push(&mut self, rule: FaultRule) {
        self.0.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the fault of a request from the first rule that has one for it.
    /// The rules before that count the request among those that pass.
    pub fn take(&mut self, operation: &str, key: &str) -> Option<Fault> {
        for rule in &mut self.0 {
            if rule.times == 0 || !rule.concerns(operation, key) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        None
    }
}
