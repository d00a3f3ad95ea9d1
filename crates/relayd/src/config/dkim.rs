//! `[[dkim]]`

use std::path::Path;
use std::time::Duration;

use relay_dkim::{
    Canonicalization, Domain, HeaderList, PrivateKey, Selector, Signer, SigningEntry,
};

use super::{ConfigError, KeyStep, Mapping, NamedFile, key, schema};

/// The signing table. It names its keys by their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DkimConfig {
    entries: Vec<SigningKey>,
}

/// One line of the signing table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SigningKey {
    domain: Domain,
    selector: Selector,
    key: NamedFile,
    subdomains: bool,
    headers: HeaderList,
    body: Canonicalization,
    expire: Option<Duration>,
}

impl DkimConfig {
    /// Returns the files with the keys.
    pub(crate) fn files(&self) -> impl Iterator<Item = &NamedFile> {
        self.entries.iter().map(|entry| &entry.key)
    }

    /// Reads the keys. A key that users other than its owner can read is refused.
    pub fn load(&self) -> Result<Signer, ConfigError> {
        let entries: Result<Vec<SigningEntry>, ConfigError> =
            self.entries.iter().map(SigningKey::load).collect();
        // Every reason to refuse a table was found when the file was read, with its line.
        Signer::new(entries?)
            .map_err(|reason| ConfigError::of_file(Path::new("[[dkim]]"), reason.to_string()))
    }
}

impl SigningKey {
    fn load(&self) -> Result<SigningEntry, ConfigError> {
        let key = PrivateKey::load(self.key.path());
        Ok(SigningEntry {
            domain: self.domain.clone(),
            selector: self.selector.clone(),
            key: key.map_err(|reason| self.key.error(reason))?,
            subdomains: self.subdomains,
            headers: self.headers.clone(),
            body: self.body,
            expire: self.expire,
        })
    }
}

impl Mapping<'_> {
    pub(super) fn dkim(&self) -> Result<DkimConfig, ConfigError> {
        let tables = self.file.dkim.iter().enumerate();
        let entries = tables.map(|(index, table)| self.signing_key(index, table));
        Ok(DkimConfig {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    fn signing_key(&self, index: usize, table: &schema::Dkim) -> Result<SigningKey, ConfigError> {
        let headers = match &table.headers {
            None => HeaderList::default(),
            Some(names) => HeaderList::new(names)
                .map_err(|reason| self.source.error_at(&place(index, "headers"), reason))?,
        };
        Ok(SigningKey {
            domain: table.domain.0.clone(),
            selector: table.selector.0.clone(),
            key: self.source.named(&place(index, "key"), &table.key.0),
            subdomains: table.subdomains,
            headers,
            body: match table.canonicalization {
                schema::Canonicalization::Relaxed => Canonicalization::Relaxed,
                schema::Canonicalization::Simple => Canonicalization::Simple,
            },
            expire: table.expire.0.0,
        })
    }
}

fn place(index: usize, name: &str) -> [KeyStep; 3] {
    [key("dkim"), KeyStep::Index(index), key(name)]
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use relay_dkim::{Algorithm, Decision, GeneratedKey};

    use super::super::{Config, ConfigError};

    const ENTRY: &str = "[[dkim]]\ndomain = \"d.test\"\nselector = \"s\"\nkey = \"k.pem\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let text = format!("hostname = \"relay.test\"\n{text}");
        Config::parse("relayd.toml".as_ref(), &text)
    }

    #[test]
    fn a_bad_signing_key_is_reported_with_its_line() {
        for (extra, expected) in [
            (
                "headers = [\"Received\"]",
                "relayd.toml:6: dkim.headers: `Received` is changed or removed on the way, so it cannot be signed",
            ),
            (
                "expire = \"1ms\"",
                "relayd.toml:6: dkim.expire: signatures would expire at once",
            ),
            (
                "expire = \"4d\"",
                "relayd.toml:6: dkim.expire: signatures would expire while mail still waits: use at least queue.lifetime (5days)",
            ),
            (
                ENTRY,
                "relayd.toml:8: dkim.selector: d.test already has a key with the selector s: give each key its own selector",
            ),
            (
                "canonicalization = \"simple/simple\"",
                "relayd.toml:6: dkim.canonicalization: unknown value \"simple/simple\", expected \"relaxed/relaxed\" or \"relaxed/simple\"",
            ),
            (
                "subdomain = true",
                "relayd.toml:6: unknown key \"subdomain\" in [[dkim]] (did you mean \"subdomains\"?)",
            ),
        ] {
            let text = format!("{ENTRY}{extra}");
            assert_eq!(parse(&text).expect_err(extra).to_string(), expected);
        }
        for (text, expected) in [
            (
                "[[dkim]]\ndomain = \"d.test\"\nselector = \"s\"",
                "relayd.toml:2: [[dkim]] needs the key \"key\"",
            ),
            (
                "[[dkim]]\ndomain = \"d..test\"",
                "relayd.toml:3: dkim.domain: \"d..test\" is not a domain such as \"example.org\": it has an empty label",
            ),
            (
                "[[dkim]]\ndomain = \"d.test\"\nselector = \"a_b\"",
                "relayd.toml:4: dkim.selector: \"a_b\" is not a selector such as \"mail\": labels are made of letters, digits, and hyphens between them",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("k.pem");
        let text = format!(
            "[[dkim]]\ndomain = \"d.test\"\nselector = \"s\"\nsubdomains = true\nkey = {:?}\n",
            file.display().to_string()
        );
        let config = parse(&text).expect("a configuration");
        let missing = config.dkim.load().expect_err("no file").to_string();
        assert!(
            missing.starts_with("relayd.toml:6: dkim.key: "),
            "{missing}"
        );
        let key = GeneratedKey::generate(Algorithm::Ed25519).expect("a key");
        key.write_new(&file).expect("a file");
        let signer = config.dkim.load().expect("a good key");
        let decision = signer.decide(b"From: a@x.d.test\r\n\r\n");
        assert!(matches!(decision, Decision::Sign(_)), "{decision:?}");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("ours");
        let readable = config.dkim.load().expect_err("readable").to_string();
        let remedy = format!("chmod 600 {}", file.display());
        assert!(
            readable.starts_with("relayd.toml:6: dkim.key: ") && readable.ends_with(&remedy),
            "{readable}"
        );
    }
}
