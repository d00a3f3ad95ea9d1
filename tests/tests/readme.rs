//! What the README says holds.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use relay_testkit::Certificate;
use relay_tests::check;

/// The key of RFC 8463 §A.2.
const DKIM_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("the README")
}

/// The blocks between these fences, with the section each is in.
fn configurations(text: &str) -> Vec<(String, String)> {
    let (mut section, mut block, mut found) = (String::new(), None::<String>, Vec::new());
    for line in text.lines() {
        match &mut block {
            Some(_) if line == "```" => {
                found.push((section.clone(), block.take().expect("a block")));
            }
            Some(lines) => lines.extend([line, "\n"]),
            None if line == "```toml" => block = Some(String::new()),
            None => {
                if let Some(name) = line.strip_prefix("## ") {
                    name.clone_into(&mut section);
                }
            }
        }
    }
    found
}

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

#[test]
fn every_configuration_in_the_readme_is_good() {
    let configurations = configurations(&readme());
    let in_section = |name: &str| {
        configurations
            .iter()
            .filter(|(section, _)| section == name)
            .count()
    };
    assert_eq!(in_section("As a submission server"), 1);
    assert_eq!(in_section("Behind a smarthost"), 4);
    assert_eq!(in_section("Signed mail"), 1);
    for (section, text) in &configurations {
        let dir = tempfile::tempdir().expect("a directory");
        let text = text.replace("/etc/relayd", &dir.path().join("etc").display().to_string());
        make_files(dir.path(), &text);
        let file = dir.path().join("relayd.toml");
        // The users' usual file may be there or not, but nothing of this machine should matter.
        let users = dir.path().join("users").display().to_string();
        fs::write(&file, format!("{text}\n[auth]\nusers = {users:?}\n")).expect("a file");
        let checked = check(&file);
        let error = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{section}: {error}\n{text}");
    }
}
