//! What has come over the wire.

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The operation's name in the documentation of S3, or `"Unknown"`.
    pub operation: &'static str,
    /// The bucket, or an empty text.
    pub bucket: String,
    /// The key, or an empty text for operations on buckets.
    pub key: String,
    /// The status of the response, or `None` when none has been sent.
    pub status: Option<u16>,
}

/// Counts and remembers requests.
#[derive(Default)]
pub struct Journal {
    records: Vec<(u64, RequestRecord)>,
    last_id: u64,
    in_progress: usize,
    /// The largest number of requests that were in progress at one time.
    pub max_concurrent: usize,
    /// The size of all request bodies.
    pub bytes_received: usize,
}

impl Journal {
    /// Notes the arrival of a request and gives it an ID.
    pub fn arrived(&mut self, record: RequestRecord) -> u64 {
        self.last_id += 1;
        self.records.push((self.last_id, record));
        self.in_progress += 1;
        self.max_concurrent = self.max_concurrent.max(self.in_progress);
        self.last_id
    }

    /// Notes the status of the response to a request, unless the request has
    /// been forgotten.
    pub fn answered(&mut self, id: u64, status: u16) {
        if let Some((_, record)) = self.records.iter_mut().find(|(known, _)| *known == id) {
            record.status = Some(status);
        }
    }

    /// Notes that a request is over, answered or not.
    pub fn ended(&mut self) {
        self.in_progress -= 1;
    }

    /// The requests in the order of their arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.records
            .iter()
            .map(|(_, record)| record.clone())
            .collect()
    }

    /// Forgets the requests.
    pub fn forget_requests(&mut self) {
        self.records.clear();
    }

    /// Forgets the requests and the counts.
    pub fn reset(&mut self) {
        self.records.clear();
        self.max_concurrent = self.in_progress;
        self.bytes_received = 0;
    }
}
