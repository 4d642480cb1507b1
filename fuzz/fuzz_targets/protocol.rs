//! What the worker says to the server, and the server to the worker: what is
//! understood is written again as it was read.
#![no_main]

use kura::render::protocol::{Header, JOB_BYTES, Job, Report};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Some((report, length))) = Report::parse(data) {
        assert_eq!(report.to_frame(), data[..length]);
    }
    let Some((header, rest)) = data.split_first_chunk() else {
        return;
    };
    if let Ok(read) = Header::parse(*header) {
        assert_eq!(read.to_bytes(), *header);
    }
    if let Ok(job) = Job::parse(rest) {
        assert!(job.to_frame().ends_with(&rest[..JOB_BYTES]));
    }
});
