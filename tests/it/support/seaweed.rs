//! SeaweedFS, from PyPI: one for all tests of this process, each of which has
//! a bucket of its own in it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use kura::storage::s3::{ConnectOptions, StaticKey};
use tempfile::TempDir;

/// A running SeaweedFS. It ends when it is dropped or this process ends: the
/// shell that has started it waits for the end of its standard input.
pub struct Seaweed {
    /// The URL of its S3 API.
    pub endpoint: String,
    /// The same with TLS.
    pub tls_endpoint: String,
    /// The certificate that signs its own.
    pub certificate: PathBuf,
    _root: TempDir,
    shell: Child,
}

/// The one key it knows.
pub fn static_key() -> StaticKey {
    StaticKey {
        id: "kura-test".into(),
        secret: "kura-test-secret".into(),
    }
}

impl Seaweed {
    /// The one of this process; started by whoever asks first.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Seaweed> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of its own, for who leaves more in it than a test does.
    pub fn start() -> Self {
        let weed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/weed");
        assert!(
            weed.exists(),
            "SeaweedFS is missing: `make test-deps` installs it"
        );
        let root = tempfile::tempdir().unwrap();
        let identities = root.path().join("identities.json");
        let key = static_key();
        let json = serde_json::json!({"identities": [{
            "name": "kura",
            "credentials": [{"accessKey": key.id, "secretKey": key.secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        std::fs::write(&identities, json.to_string()).unwrap();
        let roles = root.path().join("roles.json");
        std::fs::write(&roles, roles_json().to_string()).unwrap();
        let (certificate, key_file) = self_signed(root.path());
        let ports = free_ports::<9>();
        let flags = ["master.port", "volume.port", "filer.port", "s3.port"];
        let mut command = Command::new("sh");
        // The shell outlives a killed test run just long enough to end the
        // server it has started, by its pid.
        // Each bucket takes volumes of its own.
        command
            .args(["-c", "\"$@\" & pid=$!; cat > /dev/null; kill -9 $pid", "sh"])
            .arg(weed)
            .args(["server", "-s3", "-ip=127.0.0.1", "-volume.max=500"])
            .args([
                "-master.volumeSizeLimitMB=1024",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .arg(format!("-dir={}", root.path().display()))
            .arg(format!("-s3.config={}", identities.display()))
            .arg(format!("-s3.iam.config={}", roles.display()))
            .arg(format!("-s3.cert.file={}", certificate.display()))
            .arg(format!("-s3.key.file={}", key_file.display()))
            .arg(format!("-s3.port.https={}", ports[8]));
        for (flag, pair) in flags.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{flag}={}", pair[0]));
            command.arg(format!("-{flag}.grpc={}", pair[1]));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let shell = command.spawn().unwrap();
        Self {
            endpoint: format!("http://127.0.0.1:{}", ports[6]),
            tls_endpoint: format!("https://127.0.0.1:{}", ports[8]),
            certificate,
            _root: root,
            shell,
        }
    }

    /// Makes a bucket, waiting for the server to be up.
    pub async fn bucket(&self, name: &str) {
        let client = self.client();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match client.create_bucket().bucket(name).send().await {
                Ok(_) => return,
                Err(error) if Instant::now() > deadline => panic!("{error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// The SDK's client, to do what Kura does not.
    pub fn client(&self) -> aws_sdk_s3::Client {
        let key = static_key();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(key.id, key.secret, None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// How it is reached.
    pub fn connect_options(&self) -> ConnectOptions {
        ConnectOptions {
            endpoint: Some(self.endpoint.clone()),
            sts_endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".into()),
            path_style: true,
            static_key: Some(static_key()),
            ca_bundle: None,
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_mins(1),
            max_attempts: 4,
        }
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The role that it gives out, which may do everything with every bucket.
pub const ROLE: &str = "arn:aws:iam::000000000000:role/kura-tenant";

fn roles_json() -> serde_json::Value {
    let allow =
        |what: serde_json::Value| serde_json::json!({"Version": "2012-10-17", "Statement": [what]});
    serde_json::json!({
        "sts": {
            "issuer": "kura-test",
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "signingKey": "YSBrZXkgZm9yIHRlc3RzIG9ubHkgdGhhdCBpcyBsb25n",
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{
            "name": "everything",
            "document": allow(serde_json::json!({
                "Effect": "Allow",
                "Action": ["s3:*"],
                "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"],
            })),
        }],
        "roles": [{
            "roleName": "kura-tenant",
            "roleArn": ROLE,
            "attachedPolicies": ["everything"],
            "trustPolicy": allow(serde_json::json!({
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "sts:AssumeRole",
            })),
        }],
    })
}

/// A certificate for this machine that nobody trusts, and its key.
fn self_signed(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is missing");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

/// Ports that nobody uses.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
