//! `kura vhosts`: a file for each tenant, nothing of one in another's, and no
//! word that a value could break out of.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::app::SECRET;
use super::support::process::run;
use super::support::s3_server::S3Server;

const GOOD: &str = "\
db:       {name: redmine_a, user: a, password: 'it\\s \"$5\" a #day'}
s3:       {bucket: files, folder: user001}
property: {sub_domain: SiteA, limit_ips: ['192.168.0.7/24', '2001:db8::/32'], plan: gold}
";

/// Tenant files, and the directory of what is made of them.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tenants")).unwrap();
        let place = Self { root };
        place.tenant("sitea", GOOD);
        place
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root.path().display())
    }

    fn tenant(&self, id: &str, text: &str) {
        fs::write(self.path(&format!("tenants/{id}.yml")), text).unwrap();
    }

    /// A good tenant but for these values.
    fn tenant_with(&self, id: &str, db: &str, property: &str, more: &str) {
        let text = format!(
            "db: {{{db}}}\ns3: {{bucket: files, folder: {id}}}\nproperty: {{{property}}}\n{more}"
        );
        self.tenant(id, &text);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let tenants = format!("dir:{}", self.path("tenants"));
        let store = format!("dir:{}", self.path("store"));
        self.run_with(
            arguments,
            &[("KURA_TENANTS", &tenants), ("KURA_STORE", &store)],
        )
    }

    fn run_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
        let output = self.path("out");
        let mut all = vec!["vhosts", "--output", &output];
        all.extend(["--domain", "example.com", "--root", "/srv/redmine"]);
        all.extend(arguments);
        let more = [("KURA_SECRET", SECRET), ("PATH", "/usr/bin:/bin")];
        run(&all, &[settings, &more].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_slice(&self.run(&arguments).stdout).unwrap()
    }

    fn conf(&self, id: &str) -> String {
        fs::read_to_string(self.path(&format!("out/{id}.conf"))).unwrap()
    }

    fn template(&self, text: &str) -> String {
        let path = self.path("template");
        fs::write(&path, text).unwrap();
        path
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn token(id: &str) -> String {
    let secrets = kura::tenant::Secrets::parse(SECRET).unwrap();
    secrets.token(&id.parse().unwrap())
}

fn inode(path: &str) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn tenant_gets_a_virtual_host_that_only_its_owner_reads() {
    let place = Place::new();
    let out = place.run(&["--env", "REDMINE_INSTANCE={{ id }}-{{ property.plan }}"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let expected = format!(
        r#"# Made by kura vhosts from sitea.yml. What is changed here is lost.
<VirtualHost *:80>
  ServerName sitea.example.com
  DocumentRoot "/srv/redmine/public"

  PassengerEnabled on
  PassengerAppRoot "/srv/redmine"
  PassengerAppGroupName sitea
  RailsEnv production

  SetEnv RAILS_DB "redmine_a"
  SetEnv RAILS_DB_USERNAME "a"
  SetEnv RAILS_DB_PASSWORD "it\\s \"$5\" a #day"
  SetEnv S3_BUCKET_NAME "files"
  SetEnv S3_FOLDER_NAME "user001"
  SetEnv KURA_URL "http://127.0.0.1:8950"
  SetEnv KURA_TOKEN "{}"
  SetEnv KURA_DELIVERY ticket
  SetEnv REDMINE_INSTANCE "sitea-gold"

  # Downloads by ticket go past Ruby, under the rules of this VirtualHost.
  ProxyPass "/kura/t/" "http://127.0.0.1:8950/kura/t/"
  <Location "/kura/t/">
    PassengerEnabled off
  </Location>

  <Directory "/srv/redmine/public">
    Require all granted
  </Directory>
  <Location "/">
    Require ip 192.168.0.0/24
    Require ip 2001:db8::/32
  </Location>
</VirtualHost>
"#,
        token("sitea")
    );
    assert_eq!(place.conf("sitea"), expected);
    let mode = fs::metadata(place.path("out/sitea.conf"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn only_what_has_changed_is_written_and_only_what_is_ours_is_removed() {
    let place = Place::new();
    place.tenant_with("b", "name: b, user: b, password: b", "sub_domain: b", "");
    place.tenant_with("c", "name: c, user: c, password: c", "sub_domain: c", "");
    fs::create_dir(place.path("out")).unwrap();
    fs::write(place.path("out/other.conf"), "Listen 80\n").unwrap();
    fs::write(place.path("out/c.conf"), "Listen 80\n").unwrap();

    let first = place.json(&[]);
    assert_eq!(first["new"], json!(["b", "sitea"]));
    assert_eq!(first["refused"][0]["tenant"], "c");
    assert_eq!(place.conf("c"), "Listen 80\n");

    let before = inode(&place.path("out/sitea.conf"));
    fs::remove_file(place.path("tenants/b.yml")).unwrap();
    fs::remove_file(place.path("out/c.conf")).unwrap();
    let second = place.json(&[]);
    let expected = json!({
        "new": ["c"], "changed": [], "removed": ["b"], "unchanged": 1, "refused": [],
    });
    assert_eq!(second, expected);
    assert_eq!(inode(&place.path("out/sitea.conf")), before);
    assert!(Path::new(&place.path("out/other.conf")).exists());

    // Someone let others read it.
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.path("out/c.conf"), open).unwrap();
    assert_eq!(place.json(&[])["changed"], json!(["c"]));

    // Nothing there is rather the wrong place than nobody left.
    for id in ["sitea", "c"] {
        fs::remove_file(place.path(&format!("tenants/{id}.yml"))).unwrap();
    }
    let out = place.run(&[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("there is no tenant file"));
    assert!(Path::new(&place.path("out/sitea.conf")).exists());
}

/// An id, what the tenant's file has, and what is said of it.
const HOSTILE: &[(&str, &str, &str, &str)] = &[
    (
        "newline",
        "name: x, user: x, password: \"a\\nSetEnv X 1\"",
        "sub_domain: d1",
        ":1: db.password: has a line break",
    ),
    (
        "nul",
        "name: \"a\\0\", user: x, password: x",
        "sub_domain: d2",
        ":1: db.name: has a line break",
    ),
    (
        "brace",
        "name: x, user: x, password: 'a${HOME}'",
        "sub_domain: d3",
        ":1: db.password: has `${` or `%{`",
    ),
    (
        "expr",
        "name: x, user: '%{ENV:X}', password: x",
        "sub_domain: d4",
        ":1: db.user: has `${` or `%{`",
    ),
    (
        "wild",
        DB,
        "sub_domain: '*'",
        ":3: property.sub_domain: not a host name",
    ),
    (
        "space",
        DB,
        "sub_domain: a b",
        ":3: property.sub_domain: not a host name",
    ),
    (
        "nosub",
        DB,
        "plan: x",
        ": property.sub_domain: required, but missing",
    ),
    (
        "twin1",
        DB,
        "sub_domain: Twin",
        ":3: property.sub_domain: twin.example.com is the name of tenant twin2, too",
    ),
    (
        "twin2",
        DB,
        "sub_domain: twin",
        ":3: property.sub_domain: twin.example.com is the name of tenant twin1, too",
    ),
    (
        "ip",
        DB,
        "sub_domain: d6, limit_ips: [10.0.0.0/8, 10.0.0.0/99]",
        ":3: property.limit_ips: not an IP address",
    ),
    (
        "nodb",
        "name: x, user: x",
        "sub_domain: d7",
        ": db.password: missing, and needed in line",
    ),
    (
        "empty",
        "name: x, user: x, password: ",
        "sub_domain: d8",
        ":1: db.password: not a text, as is needed in line",
    ),
    (
        "list",
        "name: [x], user: x, password: x",
        "sub_domain: d9",
        ":1: db.name: not a text, as is needed in line",
    ),
];
const DB: &str = "name: x, user: x, password: hunter2";

#[test]
fn hostile_tenant_is_named_with_its_key_and_is_in_nobodys_way() {
    let place = Place::new();
    for (id, db, property, _) in HOSTILE {
        place.tenant_with(id, db, property, "");
    }
    let long = format!("name: {}, user: x, password: x", "x".repeat(3000));
    place.tenant_with("long", &long, "sub_domain: d10", "");
    let way = "kura: {delivery: x_accel}";
    place.tenant_with("way", DB, "sub_domain: d11", way);
    place.tenant("broken", "db: {password: hunter2\n");
    // What it had stays, though its file cannot be used.
    fs::create_dir(place.path("out")).unwrap();
    let old = "# Made by kura vhosts from broken.yml.\n";
    fs::write(place.path("out/broken.conf"), old).unwrap();

    let out = place.run(&[]);
    let (said, errors) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1));
    for (id, _, _, why) in HOSTILE {
        let expected = format!("kura: {id}.yml{why}");
        assert!(errors.contains(&expected), "{expected}\n{errors}");
    }
    assert!(errors.contains("long.yml:1: db.name: has more than 2000 bytes"));
    assert!(errors.contains("way.yml:4: kura.delivery: must be stream, ticket, x_sendfile"));
    assert!(errors.contains("kura: broken.yml: "), "{errors}");
    assert!(!errors.contains("hunter2"));
    let sums = "1 new, 0 changed, 0 removed, 0 unchanged, 16 refused\n";
    assert!(said.ends_with(sums), "{said}");
    assert_eq!(place.conf("broken"), old);
    assert!(place.conf("sitea").contains("ServerName sitea.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_files_in_s3_are_listed_once_and_read_once_each() {
    let server = S3Server::start().await.with_bucket("conf");
    for id in ["a", "b", "c"] {
        let text = format!(
            "db: {{name: {id}, user: {id}, password: {id}}}\ns3: {{bucket: files, folder: {id}}}\nproperty: {{sub_domain: {id}}}\n"
        );
        server.put_object("conf", &format!("tenants/{id}.yml"), text, &[]);
    }
    let (place, endpoint) = (Place::new(), server.endpoint());
    let report = tokio::task::spawn_blocking(move || {
        let settings = [
            ("KURA_STORE", "s3"),
            ("KURA_TENANTS", "s3://conf/tenants/"),
            ("AWS_ENDPOINT_URL_S3", &endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        text(&place.run_with(&[], &settings).stdout)
    });
    let said = report.await.unwrap();
    assert!(said.ends_with("3 new, 0 changed, 0 removed, 0 unchanged, 0 refused\n"));
    assert_eq!(server.requests().len(), 1 + 3);
}

#[test]
fn suspended_tenant_keeps_its_name_and_nothing_else() {
    let place = Place::new();
    place.tenant(
        "sitea",
        &format!("{GOOD}kura: {{state: suspended, delivery: x_sendfile}}\n"),
    );
    place.run(&[]);
    let conf = place.conf("sitea");
    assert!(conf.contains("ServerName sitea.example.com\n"));
    assert!(conf.contains("Redirect 503 /"));
    assert!(!conf.contains("SetEnv") && !conf.contains(&token("sitea")));
}

#[test]
fn no_name_has_two_live_hosts_and_no_suspended_tenant_keeps_its_token() {
    let place = Place::new();
    let bee = |more: &str| place.tenant_with("bee", DB, "sub_domain: shop", more);
    bee("");
    place.run(&[]);
    place.tenant("bee", "db: {password: hunter2\n");
    place.tenant_with("acme", DB, "sub_domain: shop", "");
    let out = place.run(&[]);
    let errors = text(&out.stderr);
    let why = "acme.yml: property.sub_domain: shop.example.com is still in the file of tenant bee";
    assert!(errors.contains(why), "{errors}");
    assert!(!Path::new(&place.path("out/acme.conf")).exists());
    assert!(place.conf("bee").contains("ServerName shop.example.com"));

    bee("kura: {state: suspended}\n");
    let report = place.json(&[]);
    assert_eq!(report["removed"], json!(["bee"]), "{report}");
    assert!(!Path::new(&place.path("out/bee.conf")).exists());
    place.tenant_with("bee", DB, "sub_domain: bee", "kura: {state: suspended}\n");
    assert_eq!(place.json(&[])["new"], json!(["acme", "bee"]));
}

#[test]
fn check_writes_nothing_and_shows_what_would_change_but_no_secret() {
    let place = Place::new();
    assert_eq!(place.run(&["--check"]).status.code(), Some(1));
    assert!(!Path::new(&place.path("out")).exists());
    place.run(&[]);
    assert_eq!(place.run(&["--check"]).status.code(), Some(0));

    let before = place.conf("sitea");
    place.tenant_with(
        "sitea",
        "name: new_name, user: a, password: hunter2, host: db.internal",
        "sub_domain: sitea, limit_ips: [10.1.0.0/16]",
        "",
    );
    let out = place.run(&["--check"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1));
    for line in [
        "-   SetEnv RAILS_DB \"redmine_a\"\n",
        "+   SetEnv RAILS_DB \"new_name\"\n",
        "-   SetEnv RAILS_DB_PASSWORD ********\n",
        "+   SetEnv RAILS_DB_PASSWORD \"********\"\n",
        "+   SetEnv RAILS_DB_HOST \"db.internal\"\n",
        "-     Require ip 2001:db8::/32\n",
        "+     Require ip 10.1.0.0/16\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    for secret in ["hunter2", "$5", &token("sitea")] {
        assert!(!said.contains(secret), "{said}");
    }
    assert_eq!(place.conf("sitea"), before);
}

#[test]
fn own_template_cannot_be_broken_out_of_either() {
    let place = Place::new();
    let property = |value: &str| {
        place.tenant_with("sitea", "", &format!("sub_domain: a, x: {value}"), "");
    };
    let rendered = |template: &str| {
        let out = place.run(&["--template", &place.template(template)]);
        if out.status.success() {
            Ok(place
                .conf("sitea")
                .lines()
                .skip(1)
                .collect::<Vec<_>>()
                .join("\n"))
        } else {
            Err(text(&out.stderr))
        }
    };
    property("'a \"b\\'");
    for (template, expected) in [
        ("A \"{{ property.x }}\"", "A \"a \\\"b\\\\\""),
        (
            "A \"<{{ property.x }}>\" {{ id }}/{{ id }}",
            "A \"<a \\\"b\\\\>\" sitea/sitea",
        ),
        (
            "{% if property.plan %}x{% endif %}# it's {{ id }}\nA \"{{ property.x|upper }}\"",
            "# it's sitea\nA \"A \\\"B\\\\\"",
        ),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(expected));
    }
    for (template, why) in [
        ("A {{ property.x }}", "property.x: is not a plain word"),
        ("A '{{ property.x }}'", "property.x: is not a plain word"),
        ("A x\"{{ property.x }}\"", "property.x: is not a plain word"),
        ("# {{ property.x }}", "property.x: is not a plain word"),
        (
            "A \"x\" {{ property.x }}",
            "property.x: is not a plain word",
        ),
        (
            "A \"\\\"\" {{ property.x }} \"",
            "property.x: is not a plain word",
        ),
        (
            "If \"%{HOST} == '{{ property.x }}'\"",
            "property.x: is not a plain word",
        ),
        (
            "A \"\\{{ property.x }}\"",
            "property.x: stands behind a backslash",
        ),
        (
            "A \"{{ property.x }}\nB\"",
            "a quoted string of the template does not end on its line",
        ),
        ("A {{ nothing }}", "nothing: missing, and needed in line 1"),
        ("A {{ property }}", "property: not a text"),
        ("A {{ property.x|int }}", "in line 1 of the template"),
        ("A {{", "the template cannot be used: syntax error"),
        (
            "{% macro m() %}{% endmacro %}",
            "the template cannot be used: syntax error",
        ),
    ] {
        let error = rendered(template).unwrap_err();
        assert!(error.contains(why), "{template}: {error}");
        assert!(!error.contains("a \"b"), "{error}");
    }
    // nginx expands `$` nearly everywhere.
    property("a$b");
    let nginx = |template: &str| {
        let template = place.template(template);
        place
            .run(&["--server", "nginx", "--template", &template])
            .status
            .success()
    };
    assert!(nginx("passenger_env_var X \"{{ property.x }}\";"));
    assert!(!nginx("add_header X \"{{ property.x }}\";"));
}

#[test]
fn command_is_run_when_files_have_changed_until_it_succeeds() {
    let place = Place::new();
    let ran = place.path("ran");
    let failing = format!("echo x >> {ran}; exit 3");
    let succeeding = format!("echo x >> {ran}");
    let times = || fs::read_to_string(&ran).unwrap_or_default().lines().count();
    let status = |command: &str| place.run(&["--on-change", command]).status.code();
    assert_eq!((status(&failing), times()), (Some(1), 1));
    assert_eq!((status(&failing), times()), (Some(1), 2));
    assert_eq!((status(&succeeding), times()), (Some(0), 3));
    assert_eq!((status(&succeeding), times()), (Some(0), 3));
    fs::remove_file(place.path("out/sitea.conf")).unwrap();
    assert_eq!((status(&succeeding), times()), (Some(0), 4));

    // Whatever it starts is not to have what all tokens derive from.
    fs::remove_file(place.path("out/sitea.conf")).unwrap();
    status(&format!("env > {ran}"));
    let environment = fs::read_to_string(&ran).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("KURA_SECRET"));
}

#[test]
fn nginx_gets_a_server_with_passengers_variables() {
    let place = Place::new();
    let out = place.run(&[
        "--server",
        "nginx",
        "--delivery",
        "x_accel",
        "--kura-url",
        "unix:/run/kura.sock",
    ]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let conf = place.conf("sitea");
    for line in [
        "  listen 80;\n  server_name sitea.example.com;\n",
        "  passenger_env_var RAILS_DB_PASSWORD \"it\\\\s \\\"$5\\\" a #day\";\n",
        "  passenger_env_var KURA_URL \"unix:/run/kura.sock\";\n",
        "    internal;\n    passenger_enabled off;\n    proxy_pass \"http://unix:/run/kura.sock\";\n",
        "  allow 192.168.0.0/24;\n  allow 2001:db8::/32;\n  deny all;\n",
    ] {
        assert!(conf.contains(line), "{line}{conf}");
    }
}

#[test]
fn what_does_not_fit_together_is_a_bad_command_line() {
    let place = Place::new();
    for arguments in [
        &["--delivery", "x_accel"][..],
        &["--delivery", "x_sendfile"],
        &["--domain", "a b"],
        &["--kura-url", "https://kura.example.com"],
        &["--env", "1X=a"],
        &["--mode", "0644"],
    ] {
        let out = place.run(arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
    }
}
