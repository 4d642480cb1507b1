use super::*;

#[test]
fn nothing_set_is_a_directory_and_one_tenant() {
    let config = Values::default().config().unwrap();
    assert!(matches!(config.deployment.store, StoreConfig::Directory(_)));
    assert_eq!(config.listen, Listen::Tcp("127.0.0.1:8950".into()));
    let TenantsConfig::Single(tenant) = config.deployment.tenants else {
        panic!()
    };
    assert_eq!(tenant.id.as_str(), "default");
    assert!((64 << 20..=1 << 30).contains(&config.deployment.limits.memory_bytes));
    assert_eq!(
        config.deployment.limits.memory_bytes,
        config.deployment.limits.tenant_memory_bytes
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
    let TenantsConfig::S3 { bucket, prefix, .. } = values.config().unwrap().deployment.tenants
    else {
        panic!()
    };
    assert_eq!((bucket.as_str(), prefix.as_str()), ("conf", "tenants/"));
}

fn error_of(settings: &[(&'static str, &str)]) -> String {
    let config = Values::from_pairs(settings).config();
    config
        .err()
        .map_or(String::new(), |error| error.to_string())
}

#[test]
fn fallback_font_must_be_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let error = || error_of(&[("KURA_FALLBACK_FONT", path)]);
    for other in [&b""[..], b"OTT", b"root:x:0:0", b"wOF2"] {
        std::fs::write(path, other).unwrap();
        assert!(error().contains("KURA_FALLBACK_FONT"), "{other:?}");
    }
    for font in [&b"\0\x01\0\0 and more"[..], b"OTTO", b"ttcf"] {
        std::fs::write(path, font).unwrap();
        assert_eq!(error(), "", "{font:?}");
    }
    let error = error_of(&[("KURA_FALLBACK_FONT", "/nonexistent")]);
    assert!(error.contains("KURA_FALLBACK_FONT"), "{error}");
}

#[test]
fn cache_on_disk_can_be_turned_off() {
    let cache = |name, value| {
        let config = Values::from_pairs(&[(name, value)]).config().unwrap();
        config.cache
    };
    assert_eq!(cache("KURA_CACHE_DIR", "none").directory, None);
    let nothing = cache("KURA_CACHE_BYTES", "0");
    assert!(nothing.directory.is_some() && nothing.disk_bytes == 0);
}

#[test]
fn bucket_of_a_directory_store_is_not_where_its_cache_is() {
    for tenants in ["env", "dir:tenants"] {
        let error = error_of(&[("S3_BUCKET_NAME", "cache"), ("KURA_TENANTS", tenants)]);
        assert!(error.contains("S3_BUCKET_NAME"), "{error}");
    }
}

#[test]
fn each_thumbnail_of_an_upload_is_named_once() {
    let sides = |text| {
        let config = Values::from_pairs(&[("KURA_EAGER_THUMBNAILS", text)]).config();
        config.map(|config| config.eager_thumbnails).ok()
    };
    assert_eq!(sides("200, 100"), Some(vec![200, 100]));
    assert_eq!(sides(""), Some(vec![]));
    for bad in ["100,200,100", "100,,200", "100,", ",", "75", "850"] {
        assert_eq!(sides(bad), None, "{bad}");
    }
}
