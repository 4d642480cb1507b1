//! Every setting, with its default and its unit, listed once.

/// A setting: an environment variable and a flag of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set; empty for nothing.
    pub default: &'static str,
    /// What it means, with its unit.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default,
        help,
    }
}

/// Every setting.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting("KURA_LISTEN", "127.0.0.1:8950", "Address to listen on, or unix:PATH"),
    setting("KURA_STORE", "dir:./kura-data", "Where objects are kept: dir:PATH or s3"),
    setting("KURA_SECRET", "", "Secret that tokens are derived from: current[,previous], each of 16 bytes or more. Made and kept by a directory store; required with s3"),
    setting("KURA_TENANTS", "env", "Where tenants come from: env, dir:PATH or s3://BUCKET/PREFIX/"),
    setting("KURA_TENANT", "default", "Id of the single tenant when KURA_TENANTS is env"),
    setting("KURA_TENANTS_REFRESH_SECONDS", "10", "How often tenant files are looked at, in seconds"),
    setting("S3_BUCKET_NAME", "", "Bucket of the single tenant, and of tenants that name none"),
    setting("S3_FOLDER_NAME", "", "Folder of the single tenant in its bucket; empty for all of it"),
    setting("KURA_REDMICA_S3", "", "Path of redmica_s3's config/s3.yml, which fills in what is not set here"),
    setting("RAILS_ENV", "production", "Section of that file"),
    setting("KURA_THUMB_FOLDER", "", "Folder of the single tenant's thumbnails from the bucket's root; empty for tmp/thumbnails/ inside its folder"),
    setting("KURA_IMPORT_FOLDER", "", "Folder of the single tenant's imports from the bucket's root; empty for tmp/imports/ inside its folder"),
    setting("AWS_REGION", "", "Region of the bucket; also needed beside an endpoint"),
    setting("AWS_ENDPOINT_URL_S3", "", "URL of an S3-compatible server"),
    setting("KURA_ROLE_ARN", "", "Role by which the objects of tenants are reached that name none themselves; empty for the server's own credentials"),
    setting("KURA_ROLE_EXTERNAL_ID", "", "External id that such a role's trust policy asks for"),
    setting("KURA_ROLE_SESSION", "policy", "How a session of a role is held to one tenant's folders: policy, or tag"),
    setting("AWS_ENDPOINT_URL_STS", "", "URL that sessions of roles are asked for at; empty for that of AWS in the region"),
    setting("AWS_CA_BUNDLE", "", "PEM file of certificates to trust besides the system's"),
    setting("KURA_S3_PATH_STYLE", "auto", "Bucket in the path, not in the host name: yes, no, or auto (yes with an endpoint)"),
    setting("KURA_S3_CHECKSUMS", "yes", "Send checksums with uploads: yes, or no for servers that refuse them"),
    setting("KURA_S3_CONDITIONAL_WRITES", "auto", "Whether the server honours If-None-Match: yes, no, or auto to find out"),
    setting("KURA_S3_MAX_ATTEMPTS", "4", "Tries of a request to S3"),
    setting("KURA_S3_CONNECT_TIMEOUT_SECONDS", "3", "Longest time to connect to S3, in seconds"),
    setting("KURA_S3_READ_TIMEOUT_SECONDS", "30", "Longest wait for the head of an answer from S3, in seconds"),
    setting("KURA_S3_IDLE_BODY_SECONDS", "20", "Longest wait for a byte of a body from S3 before it is asked for anew, in seconds"),
    setting("KURA_S3_MIN_BYTES_PER_SECOND", "131072", "Least rate at which a part is sent to S3 before it is sent anew, in bytes a second"),
    setting("KURA_PART_BYTES", "8388608", "Size of a part of an upload and of a range read ahead, in bytes (5 MiB or more)"),
    setting("KURA_PARALLEL_PARTS", "6", "Parts of one upload, or ranges of one download, under way at once"),
    setting("KURA_MEMORY_BYTES", "auto", "Memory for all part buffers, in bytes; auto for a quarter of what the cgroup or machine has, within 64 MiB and 1 GiB"),
    setting("KURA_WAIT_SECONDS", "30", "Longest wait for such memory before 503, in seconds"),
    setting("KURA_MAX_BODY_BYTES", "5368709120", "Largest upload, in bytes"),
    setting("KURA_MAX_CONNECTIONS", "1024", "Connections open at once"),
    setting("KURA_MAX_REQUESTS", "512", "Requests under way at once"),
    setting("KURA_MAX_TENANT_REQUESTS", "auto", "Requests of one tenant under way at once; auto for all of them with a single tenant, half with many"),
    setting("KURA_IDLE_SECONDS", "30", "Longest wait for a byte from or to a client, in seconds"),
    setting("KURA_MIN_BYTES_PER_SECOND", "8192", "Least rate of a client, in bytes a second, measured over the time above"),
    setting("KURA_IMPORT_TTL_SECONDS", "86400", "Age at which an import expires, in seconds"),
    setting("KURA_CACHE_DIR", "auto", "Directory of the cache on disk; none, or auto: cache/ in a directory store, and none with s3"),
    setting("KURA_CACHE_BYTES", "1073741824", "Most that the cache of thumbnails on disk takes, in bytes; 0 for no such cache"),
    setting("KURA_CACHE_MEMORY_BYTES", "33554432", "Most that the cache of thumbnails in memory takes, in bytes"),
    setting("KURA_LEASE_BYTES", "4294967296", "Most that leased files take in the cache directory, in bytes; 0 for no leases"),
    setting("KURA_EAGER_THUMBNAILS", "", "Sizes of thumbnails made as soon as a picture is uploaded, in pixels, such as 100,200"),
    setting("KURA_THUMBNAIL_FAILURE_SECONDS", "600", "How long it is remembered that a picture has no thumbnail, in seconds"),
    setting("KURA_RENDER_WORKERS", "auto", "Worker processes that make thumbnails; auto for as many as the CPUs of the cgroup or machine, at least 2"),
    setting("KURA_RENDER_QUEUE", "256", "Thumbnails that may wait for a worker"),
    setting("KURA_RENDER_SECONDS", "10", "Longest that a worker may take for a thumbnail, in seconds"),
    setting("KURA_RENDER_MEMORY_BYTES", "629145600", "Address space of a worker, in bytes"),
    setting("KURA_RENDER_JOBS", "500", "Thumbnails after which a worker is replaced"),
    setting("KURA_RENDER_IDLE_SECONDS", "60", "Time after which an idle worker ends, in seconds"),
    setting("KURA_RENDER_MAX_SOURCE_BYTES", "134217728", "Largest file that a thumbnail is made of, in bytes"),
    setting("KURA_RENDER_MAX_PIXELS", "250000000", "Largest picture that a thumbnail is made of, in pixels"),
    setting("KURA_FALLBACK_FONT", "", "Font for text in PDFs that embed none; looked for where systems keep fonts when empty"),
    setting("KURA_PING_SECONDS", "15", "How often the store is asked for a sign of life, in seconds: one request each"),
    setting("KURA_GRACE_SECONDS", "25", "Longest time to finish requests after SIGTERM, in seconds"),
    setting("KURA_LOG", "info", "What is logged, as in RUST_LOG"),
    setting("KURA_LOG_FORMAT", "auto", "json, text, or auto (text on a terminal)"),
];
