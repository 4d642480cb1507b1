use super::*;
use crate::config::{StoreConfig, TenantsConfig, Values};

fn env(name: &str) -> Option<String> {
    (name == "SECRET_KEY").then(|| "a/secret+key=".to_owned())
}

fn understood(text: &str) -> S3Yml {
    understand(text, "production", &env).unwrap()
}

fn errors(text: &str) -> String {
    understand(text, "production", &env).unwrap_err().join("\n")
}

fn get<'a>(file: &'a S3Yml, name: &str) -> Option<&'a str> {
    let mut settings = file.settings.iter();
    settings
        .find(|(set, _)| *set == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn file_of_redmica_s3_is_taken_over() {
    let file = understood(
        "# S3\nproduction:\n  access_key_id: AKIAEXAMPLE\n  secret_access_key: <%= ENV['SECRET_KEY'] %>\n  \
         bucket: files\n  folder: user001/\n  endpoint:\n  region: ap-northeast-1\n  thumb_folder: thumbs\n  \
         import_folder: \"\"\n\ndevelopment:\n  bucket: other\n",
    );
    for (name, expected) in [
        ("KURA_STORE", Some("s3")),
        ("S3_BUCKET_NAME", Some("files")),
        ("S3_FOLDER_NAME", Some("user001/")),
        ("AWS_REGION", Some("ap-northeast-1")),
        ("AWS_ENDPOINT_URL_S3", None),
        ("KURA_THUMB_FOLDER", Some("thumbs")),
        ("KURA_IMPORT_FOLDER", Some("tmp")),
        ("KURA_S3_PATH_STYLE", None),
    ] {
        assert_eq!(get(&file, name), expected, "{name}");
    }
    let key = file.static_key.unwrap();
    assert_eq!(
        (key.id.as_str(), key.secret.as_str()),
        ("AKIAEXAMPLE", "a/secret+key=")
    );
    assert_eq!(file.warnings, [""; 0]);
}

#[test]
fn file_without_a_key_has_none() {
    let file = understood("production:\n  bucket: files\n  access_key_id: <%= ENV['UNSET'] %>\n");
    assert!(file.static_key.is_none());
    assert_eq!(get(&file, "KURA_THUMB_FOLDER"), Some("tmp"));
}

#[test]
fn sections_may_share_what_they_say() {
    let file = understood(
        "default: &default\n  bucket: files\n  folder: a\nproduction:\n  <<: *default\n  folder: b\n",
    );
    assert_eq!(get(&file, "S3_BUCKET_NAME"), Some("files"));
    assert_eq!(get(&file, "S3_FOLDER_NAME"), Some("b"));
    let symbols = understood("production:\n  :bucket: files\n");
    assert_eq!(get(&symbols, "S3_BUCKET_NAME"), Some("files"));
}

#[test]
fn names_stay_as_they_are_written() {
    let file = understood("production: {bucket: '0123', folder: 001}\n");
    assert_eq!(get(&file, "S3_BUCKET_NAME"), Some("0123"));
    assert_eq!(get(&file, "S3_FOLDER_NAME"), Some("001"));
}

#[test]
fn endpoints_are_urls_or_host_names_of_old() {
    for (text, expected) in [
        (
            "endpoint: https://minio.example:9000",
            "https://minio.example:9000",
        ),
        (
            "endpoint: s3-eu-west-1.amazonaws.com",
            "https://s3-eu-west-1.amazonaws.com",
        ),
        (
            "endpoint: minio.example\n  port: 9000\n  ssl: false",
            "http://minio.example:9000",
        ),
        (
            "endpoint: minio.example\n  ssl: true",
            "https://minio.example",
        ),
    ] {
        let file = understood(&format!("production:\n  {text}\n"));
        assert_eq!(get(&file, "AWS_ENDPOINT_URL_S3"), Some(expected));
    }
    for text in [
        "endpoint: https://minio.example\n  port: 9000",
        "port: 9000",
        "ssl: false",
    ] {
        let errors = errors(&format!("production:\n  {text}\n"));
        assert!(errors.contains("port, ssl"), "{errors}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let file = understood(
        "production:\n  bucket: files\n  ssl_verify_peer: false\n  private: true\n  expires: 3600\n  \
         secure: true\n  proxy: true\n  storage_class: STANDARD_IA\n  force_path_style: true\n",
    );
    for (word, why) in [
        ("ssl_verify_peer", "always verified"),
        ("private", "never sent"),
        ("expires", "never sent"),
        ("secure", "never sent"),
        ("proxy", "never sent"),
        ("storage_class", "not known"),
    ] {
        let told = |warning: &&String| warning.contains(word) && warning.contains(why);
        assert_eq!(file.warnings.iter().filter(told).count(), 1, "{word}");
    }
    assert_eq!(file.warnings.len(), 6);
    assert_eq!(get(&file, "KURA_S3_PATH_STYLE"), Some("yes"));
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line_and_no_value() {
    for (text, expected) in [
        ("production:\n  bucket: <%= Secret.bucket %>\n", "(line 2)"),
        (
            "production:\n  bucket: <%= ENV.fetch('NO_SUCH') %>\n",
            "NO_SUCH",
        ),
        (
            "production:\n  bucket: files\n  folder: {hidden: 1}\n",
            "line 3",
        ),
        ("production: [hidden]\n", "line 1"),
        ("production:\n  bucket: a\n  bucket: hidden\n", "twice"),
        ("development:\n  bucket: hidden\n", "no section production"),
        ("production:\n  bucket: 'hidden\n", "YAML"),
        (
            "production:\n  access_key_id: hidden\n",
            "secret_access_key",
        ),
        ("production:\n  force_path_style: hidden\n", "(line 2)"),
        ("production:\n  endpoint: a\n  port: hidden\n", "(line 3)"),
    ] {
        let errors = errors(text);
        assert!(errors.contains(expected), "{text}: {errors}");
        assert!(!errors.contains("hidden"), "{errors}");
    }
}

fn values(text: &str, more: &[(&'static str, &str)]) -> Values {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let mut all = vec![
        ("KURA_REDMICA_S3", path),
        ("KURA_SECRET", "0123456789abcdef"),
    ];
    all.extend_from_slice(more);
    Values::from_pairs(&all)
}

const FILE: &str = "production:\n  access_key_id: id\n  secret_access_key: hidden\n  bucket: files\n  \
                    folder: user001\n  region: eu-west-1\nstaging: {bucket: stage}\n";

#[test]
fn file_fills_in_what_the_environment_does_not_say() {
    let set = [("S3_FOLDER_NAME", "user002"), ("AWS_REGION", "eu-west-3")];
    let config = values(FILE, &set).config().unwrap();
    let (StoreConfig::S3(s3), TenantsConfig::Single(tenant)) =
        (config.deployment.store, config.deployment.tenants)
    else {
        panic!()
    };
    assert_eq!(s3.connect.region.as_deref(), Some("eu-west-3"));
    assert_eq!(s3.connect.static_key.unwrap().secret, "hidden");
    assert_eq!(tenant.bucket, "files");
    assert_eq!(tenant.layout.folder(), "user002/");
    assert_eq!(tenant.layout.thumb_folder(), "tmp/");
    assert_eq!(tenant.layout.import_folder(), "tmp/");
}

#[test]
fn key_of_the_environment_wins() {
    for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"] {
        let config = values(FILE, &[(name, "mine")]).config().unwrap();
        let StoreConfig::S3(s3) = config.deployment.store else {
            panic!()
        };
        assert!(s3.connect.static_key.is_none());
    }
}

#[test]
fn section_goes_by_the_rails_environment() {
    let config = values(FILE, &[("RAILS_ENV", "staging")]).config().unwrap();
    let TenantsConfig::Single(tenant) = config.deployment.tenants else {
        panic!()
    };
    assert_eq!(tenant.bucket, "stage");
}

#[test]
fn what_was_taken_is_told_without_secrets() {
    let told = values(FILE, &[("S3_FOLDER_NAME", "user002")])
        .taken()
        .join("\n");
    for word in [
        "S3_BUCKET_NAME=files",
        "AWS_REGION=eu-west-1",
        "KURA_THUMB_FOLDER=tmp",
        "static key",
    ] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert!(
        !told.contains("S3_FOLDER_NAME") && !told.contains("hidden"),
        "{told}"
    );
}

#[test]
fn errors_of_the_file_are_reported_with_all_others() {
    let broken = "production:\n  bucket: <%= 1 %>\n  folder: <%= 2 %>\n";
    let errors = values(broken, &[("KURA_MAX_REQUESTS", "four")]).config();
    let errors = errors.unwrap_err().to_string();
    for word in ["KURA_REDMICA_S3", "line 2", "line 3", "KURA_MAX_REQUESTS"] {
        assert!(errors.contains(word), "{word} is missing in {errors}");
    }
    let folder = "production:\n  bucket: files\n  folder: /user001\n";
    let errors = values(folder, &[]).config().unwrap_err().to_string();
    assert!(
        errors.contains("S3_FOLDER_NAME (from KURA_REDMICA_S3)"),
        "{errors}"
    );
    let missing = Values::from_pairs(&[("KURA_REDMICA_S3", "/no/such/s3.yml")]);
    let errors = missing.config().unwrap_err().to_string();
    assert!(errors.contains("/no/such/s3.yml"), "{errors}");
}
