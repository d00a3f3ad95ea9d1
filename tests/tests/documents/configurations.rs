//! Every configuration in the documents is valid.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use relay_testkit::Certificate;
use relay_tests::check;

use crate::text::{self, Parts};

/// The key of RFC 8463 §A.2.
const DKIM_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// Documents with configurations, and how many they have at least.
const EXPECTED: &[(&str, usize)] = &[
    ("README.md", 1),
    ("docs/install.md", 2),
    ("docs/smarthost.md", 4),
    ("docs/submission.md", 2),
    ("docs/local-programs.md", 2),
    ("docs/inbound.md", 2),
    ("docs/dkim.md", 1),
    ("docs/from-postfix.md", 1),
];

/// Makes the files that a configuration names.
fn make_files(folder: &Path, text: &str) {
    let certificate = Certificate::for_names(&["mail.example.org"]);
    let named = text
        .split('"')
        .filter(|part| part.starts_with(&folder.display().to_string()));
    for file in named.map(Path::new) {
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let content = match file.file_name().and_then(|name| name.to_str()) {
            Some("cert.pem") => certificate.pem(),
            Some("key.pem") => certificate.key_pem(),
            Some("example.org.mail.pem") => DKIM_KEY.to_owned(),
            _ => "s3cret\n".to_owned(),
        };
        fs::write(file, content).expect("a file");
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("ours");
    }
}

fn assert_valid(document: &str, text: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let text = text.replace("/etc/relayd", &dir.path().join("etc").display().to_string());
    make_files(dir.path(), &text);
    let file = dir.path().join("relayd.toml");
    // The default users file may exist or not; nothing on this machine should matter.
    let users = dir.path().join("users").display().to_string();
    fs::write(&file, format!("{text}\n[auth]\nusers = {users:?}\n")).expect("a file");
    let checked = check(&file);
    let error = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{document}: {error}\n{text}");
}

#[test]
fn every_configuration_in_the_documents_is_valid() {
    for document in text::all() {
        let parts = Parts::of(&text::read(&document));
        let expected = EXPECTED.iter().find(|(name, _)| *name == document);
        let least = expected.map_or(0, |(_, least)| *least);
        let count = parts.blocks_in("toml").count();
        assert!(count >= least, "{document} has {count} configurations");
        for configuration in parts.blocks_in("toml") {
            assert_valid(&document, configuration);
        }
    }
}
