use super::*;

#[test]
fn nothing_set_is_a_directory_and_one_tenant() {
    let config = Values::default().config().unwrap();
    assert!(matches!(config.store, StoreConfig::Directory(_)));
    assert_eq!(config.listen, Listen::Tcp("127.0.0.1:8950".into()));
    let TenantsConfig::Single(tenant) = config.tenants else {
        panic!()
    };
    assert_eq!(tenant.id.as_str(), "default");
    assert!((64 << 20..=1 << 30).contains(&config.limits.memory_bytes));
    assert_eq!(
        config.limits.memory_bytes,
        config.limits.tenant_memory_bytes
    );
}

#[test]
fn every_error_is_reported_at_once_and_no_value_is_shown() {
    let values = Values::from_pairs(&[
        ("KURA_STORE", "tape"),
        ("KURA_SECRET", "short"),
        ("KURA_PARALLEL_PARTS", "four"),
        ("KURA_MAX_REQUESTS", "0"),
        ("KURA_TENANT", "no/slash"),
        ("KURA_LOG_FORMAT", "xml"),
        ("S3_BUCKET_NAME", "../../elsewhere"),
    ]);
    let errors = values.config().unwrap_err();
    let text = errors.to_string();
    for name in [
        "KURA_STORE",
        "KURA_SECRET",
        "KURA_MAX_REQUESTS",
        "KURA_TENANT:",
        "S3_BUCKET_NAME",
        "KURA_LOG_FORMAT",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(!text.contains("short"), "{text}");
}

#[test]
fn s3_needs_a_secret_and_a_bucket() {
    let text = Values::from_pairs(&[("KURA_STORE", "s3")])
        .config()
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("KURA_SECRET") && text.contains("S3_BUCKET_NAME"),
        "{text}"
    );
}

#[test]
fn memory_must_hold_two_parts_of_each_tenant() {
    let values = Values::from_pairs(&[
        ("KURA_STORE", "s3"),
        ("KURA_SECRET", "0123456789abcdef"),
        ("S3_BUCKET_NAME", "b"),
        ("KURA_MEMORY_BYTES", "10000000"),
    ]);
    let text = values.config().unwrap_err().to_string();
    assert!(text.contains("KURA_MEMORY_BYTES"), "{text}");
}

#[test]
fn tenants_may_be_described_in_s3() {
    let values = Values::from_pairs(&[
        ("KURA_STORE", "s3"),
        ("KURA_SECRET", "0123456789abcdef"),
        ("KURA_TENANTS", "s3://conf/tenants"),
    ]);
    let TenantsConfig::S3 { bucket, prefix, .. } = values.config().unwrap().tenants else {
        panic!()
    };
    assert_eq!((bucket.as_str(), prefix.as_str()), ("conf", "tenants/"));
}
