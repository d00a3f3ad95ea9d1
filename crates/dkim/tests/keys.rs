//! Key files of openssl and of this crate.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use relay_dkim::{
    Algorithm, GenerateError, GeneratedKey, KeyError, Mismatch, PemError, PrivateKey, PublicKey,
    Record, Verdict, compare,
};

const RSA: &str = include_str!("vectors/rsa2048.pkcs8.pem");
const RSA_PUBLIC: &str = include_str!("vectors/rsa2048.public.txt");
const RSA_UNFRAMED: &str = include_str!("vectors/rsa2048.unframed.txt");
const WEAK_PUBLIC: &str = include_str!("vectors/rsa1024.public.txt");
const ED25519: &str = include_str!("vectors/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("vectors/ed25519.public.txt");

fn key(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(pem.as_bytes()).expect("a key")
}

fn record(key: &PublicKey) -> Record {
    Record::new(
        key,
        &"example.org".parse().expect("a domain"),
        &"mail".parse().expect("a selector"),
    )
}

fn write(directory: &Path, content: &str, mode: u32) -> PathBuf {
    let path = directory.join("key.pem");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its owner may");
    path
}

#[test]
fn keys_of_openssl_are_read_and_published_as_openssl_would() {
    for (pem, algorithm, public) in [
        (RSA, Algorithm::Rsa, RSA_PUBLIC),
        (
            include_str!("vectors/rsa2048.pkcs1.pem"),
            Algorithm::Rsa,
            RSA_PUBLIC,
        ),
        (ED25519, Algorithm::Ed25519, ED25519_PUBLIC),
    ] {
        let key = key(pem);
        assert_eq!(key.public().algorithm(), algorithm);
        assert_eq!(
            record(key.public()).value,
            format!("v=DKIM1; k={algorithm}; p={}", public.trim_end())
        );
    }
}

#[test]
fn a_text_without_a_usable_key_is_rejected_with_the_reason() {
    let public = format!("-----BEGIN PUBLIC KEY-----\n{RSA_PUBLIC}-----END PUBLIC KEY-----\n");
    for (pem, reason) in [
        (include_str!("vectors/rsa1024.pem"), PemError::Weak),
        (include_str!("vectors/encrypted.pem"), PemError::Encrypted),
        (include_str!("vectors/p256.pem"), PemError::Unknown),
        (&RSA.replace("MII", "AII"), PemError::Unknown),
        (&RSA[..RSA.len() / 2], PemError::NoKey),
        (&public, PemError::NoKey),
        ("nonsense", PemError::NoKey),
        ("", PemError::NoKey),
    ] {
        assert_eq!(
            PrivateKey::from_pem(pem.as_bytes()).err(),
            Some(reason),
            "{pem}"
        );
    }
}

#[test]
fn a_key_that_others_can_read_is_rejected_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        let path = write(directory.path(), RSA, mode);
        let error = PrivateKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Readable { .. }));
        let text = error.to_string();
        assert!(
            text.contains(&format!("chmod 600 {}", path.display())),
            "{text}"
        );
        assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
    }
    for mode in [0o600, 0o400] {
        PrivateKey::load(&write(directory.path(), RSA, mode)).unwrap();
    }
}

#[test]
fn an_error_names_the_file_and_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.pem");
    let text = PrivateKey::load(&missing).unwrap_err().to_string();
    assert!(
        text.contains("missing.pem") && text.contains("No such file"),
        "{text}"
    );
    let bad = write(directory.path(), "nonsense", 0o600);
    let text = PrivateKey::load(&bad).unwrap_err().to_string();
    assert!(
        text.contains("key.pem") && text.contains("not a private key"),
        "{text}"
    );
    let text = PrivateKey::load(directory.path()).unwrap_err().to_string();
    assert!(text.contains("not a regular file"), "{text}");
}

#[test]
fn debug_output_shows_nothing_of_a_key() {
    let shown = format!("{:?}", key(ED25519));
    assert_eq!(shown, "PrivateKey { algorithm: Ed25519, .. }");
}

#[test]
fn a_new_key_is_readable_only_by_its_owner_and_matches_its_record() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
        let path = directory.path().join(format!("{algorithm}.pem"));
        let generated = GeneratedKey::generate(algorithm).unwrap();
        generated.write_new(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let loaded = PrivateKey::load(&path).unwrap();
        assert_eq!(loaded.public(), generated.public());
        let published = record(generated.public()).value;
        assert_eq!(
            compare(loaded.public(), &[published]),
            Verdict::Ok { testing: false }
        );
    }
}

#[test]
fn a_key_file_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "in use", 0o600);
    let generated = GeneratedKey::generate(Algorithm::Ed25519).unwrap();
    assert!(matches!(
        generated.write_new(&path),
        Err(GenerateError::Exists(_))
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "in use");
    let nowhere = directory.path().join("missing/key.pem");
    let text = generated.write_new(&nowhere).unwrap_err().to_string();
    assert!(
        text.contains("missing/key.pem") && text.contains("No such file"),
        "{text}"
    );
}

#[test]
fn openssl_reads_a_new_key() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
        let path = directory.path().join(algorithm.as_str());
        GeneratedKey::generate(algorithm)
            .unwrap()
            .write_new(&path)
            .unwrap();
        let check = Command::new("openssl")
            .args(["pkey", "-check", "-noout", "-in"])
            .arg(&path)
            .output();
        match check {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => eprintln!("openssl is missing, so it was not tested: {error}"),
        }
    }
}

#[test]
fn a_record_is_ok_only_if_receivers_can_verify_with_it() {
    let rsa = key(RSA);
    let ed25519 = key(ED25519);
    let ok = Verdict::Ok { testing: false };
    let not = Verdict::DoesNotMatch;
    let (public, unframed, weak) = (RSA_PUBLIC.trim(), RSA_UNFRAMED.trim(), WEAK_PUBLIC.trim());
    let other = GeneratedKey::generate(Algorithm::Rsa).unwrap();
    let other = record(other.public()).value;
    for (text, verdict) in [
        (format!("v=DKIM1; k=rsa; p={public}"), ok.clone()),
        (format!("p={public}"), ok.clone()),
        (format!("v=DKIM1; p={unframed};"), ok.clone()),
        (
            format!(
                "v=DKIM1;k=rsa;n=a note;p={} {};",
                &public[..99],
                &public[99..]
            ),
            ok.clone(),
        ),
        (
            format!("v=DKIM1; h=sha1:sha256; s=email; t=s; p={public}"),
            ok,
        ),
        (
            format!("v=DKIM1; t=s:y; p={public}"),
            Verdict::Ok { testing: true },
        ),
        (other, not(Mismatch::Key)),
        (
            format!("v=DKIM1; p={}", public.trim_end_matches(|c| c != 'Q')),
            not(Mismatch::Malformed),
        ),
        (record(ed25519.public()).value, not(Mismatch::Algorithm)),
        (format!("k=dsa; p={public}"), not(Mismatch::Algorithm)),
        (
            format!("v=DKIM1; k=rsa; p={weak}"),
            Verdict::WeakKey { bits: 1024 },
        ),
        ("v=DKIM1; k=rsa; p=".into(), Verdict::Revoked),
        (format!("v=DKIM1; h=sha1; p={public}"), not(Mismatch::Hash)),
        (
            format!("v=DKIM1; s=tlsrpt; p={public}"),
            not(Mismatch::Service),
        ),
        (format!("p={public}; v=DKIM1"), not(Mismatch::Malformed)),
        (format!("v=DKIM2; p={public}"), not(Mismatch::Malformed)),
        (
            format!("v=DKIM1; p={public}; p={public}"),
            not(Mismatch::Malformed),
        ),
        ("v=DKIM1; k=rsa".into(), not(Mismatch::Malformed)),
        ("v=spf1 -all".into(), not(Mismatch::Malformed)),
        ("p=*".into(), not(Mismatch::Malformed)),
        (String::new(), not(Mismatch::Malformed)),
    ] {
        assert_eq!(compare(rsa.public(), &[&text]), verdict, "{text}");
        let is_revoked = verdict == Verdict::Revoked;
        assert_eq!(
            relay_dkim::is_revoked(text.as_bytes()),
            is_revoked,
            "{text}"
        );
    }
    let text = format!(
        "v=DKIM1; k=ed25519; p={}",
        ED25519_PUBLIC.trim().trim_end_matches('=')
    );
    assert!(compare(ed25519.public(), &[&text]).is_ok());
    assert_eq!(
        compare(ed25519.public(), &[b"p=\xff".as_slice()]),
        not(Mismatch::Malformed)
    );
}

#[test]
fn no_record_and_several_records_are_different_verdicts() {
    let key = key(RSA);
    let text = record(key.public()).value;
    assert_eq!(compare(key.public(), &[""; 0]), Verdict::NoRecord);
    assert_eq!(compare(key.public(), &[&text, &text]), Verdict::Multiple(2));
}

#[test]
fn every_verdict_but_ok_has_advice() {
    let key = key(ED25519);
    let record = record(key.public());
    for (verdict, words, advice) in [
        (Verdict::Ok { testing: false }, "ok", None),
        (Verdict::Ok { testing: true }, "ok, but", Some("remove t=y")),
        (Verdict::NoRecord, "no record", Some(record.value.as_str())),
        (
            Verdict::DoesNotMatch(Mismatch::Key),
            "does not match",
            Some(&record.value),
        ),
        (
            Verdict::DoesNotMatch(Mismatch::Hash),
            "does not match",
            Some("h= and s="),
        ),
        (
            Verdict::Multiple(3),
            "multiple records (3)",
            Some("leave one"),
        ),
        (Verdict::Revoked, "revoked", Some("new selector")),
        (
            Verdict::WeakKey { bits: 512 },
            "weak key",
            Some(&record.value),
        ),
    ] {
        assert!(verdict.to_string().starts_with(words), "{verdict}");
        let given = verdict.advice(&record);
        assert_eq!(given.is_some(), advice.is_some(), "{verdict}");
        assert!(
            given
                .unwrap_or_default()
                .contains(advice.unwrap_or_default()),
            "{verdict}"
        );
    }
}
