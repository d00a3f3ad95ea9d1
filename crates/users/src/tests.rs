use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;
use relay_smtp::sasl::scram::ScramVerifier;

use super::*;

fn name(text: &str) -> UserName {
    text.parse().expect(text)
}

fn user(senders: &[&str]) -> User {
    let password = Secret::new("pencil").expect("plain text");
    let iterations = NonZeroU32::new(4096).expect("not zero");
    User {
        password: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned(),
        scram: ScramVerifier::from_password(&password, b"salt".to_vec(), iterations),
        senders: senders.iter().map(|s| s.parse().expect(s)).collect(),
    }
}

fn line(fields: &[&str]) -> String {
    let mut line = "app\t".to_owned() + &user(&[]).to_string();
    for field in fields {
        line += "\t";
        line += field;
    }
    line
}

fn reason(text: &str) -> String {
    let refused = Users::parse(Path::new("users"), text).expect_err(text);
    refused.to_string()
}

#[test]
fn a_written_file_is_read_back_unchanged() {
    let mut users = Users::default();
    users.set(name("app"), user(&[])).expect("a name");
    users
        .set(name("a b@c"), user(&["*@example.org", "b@c.test"]))
        .expect("a name");
    let text = users.to_text();
    assert_eq!(
        Users::parse(Path::new("users"), &text).expect("users"),
        users
    );
    assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 2);
}

#[test]
fn a_line_reads_as_documented() {
    let text = "# comment\n\nme\t$argon2id$v=19$x\tSCRAM-SHA-256$4096:c2FsdA==$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\
        \t*@example.org\n";
    let users = Users::parse(Path::new("users"), text).expect("users");
    let found = users.find(&name("me")).expect("a user");
    assert_eq!(found.password, "$argon2id$v=19$x");
    assert_eq!(found.scram.iterations.get(), 4096);
    assert_eq!(found.scram.salt, b"salt");
    assert_eq!(
        (found.scram.stored_key, found.scram.server_key),
        ([0; 32], [1; 32])
    );
    assert_eq!(found.senders, ["*@example.org".parse().expect("senders")]);
    assert!(users.find(&name("ME")).is_none());
}

#[test]
fn an_error_names_a_bad_line_by_its_number_and_never_by_its_content() {
    let good = line(&[]);
    let (scram, password) = ("SCRAM-SHA-256$4096:", "$argon2id$");
    for (bad, said) in [
        (
            "app".to_owned(),
            "users:2: the second field is not an argon2id hash",
        ),
        (
            good.replace(password, "$2y$"),
            "users:2: the second field is not an argon2id hash",
        ),
        (
            good.replace(scram, "SCRAM-SHA-1$4096:"),
            "users:2: the third field is not a SCRAM",
        ),
        (
            good.replace(scram, "SCRAM-SHA-256$0:"),
            "users:2: the third field is not a SCRAM",
        ),
        (
            good.replace("4096:c2FsdA==", "4096:"),
            "users:2: the third field is not a SCRAM",
        ),
        (
            good.replace("c2FsdA==", "c2FsdA"),
            "users:2: the third field is not a SCRAM",
        ),
        (
            good[..good.len() - 4].to_owned(),
            "users:2: the third field is not a SCRAM",
        ),
        (
            line(&["example.org"]),
            "users:2: \"example.org\" is not an address",
        ),
        (line(&[""]), "users:2: \"\" is not an address"),
        (
            format!("\t{good}"),
            "users:2: a user's name cannot be empty",
        ),
        (
            good.clone() + "\n" + &good,
            "users:3: a second user of the same name",
        ),
    ] {
        let error = reason(&format!("# a comment\n{bad}\n"));
        assert!(error.starts_with(said), "{error}");
        assert!(
            !error.contains("aGFzaGhhc2g") && !error.contains("c2FsdA"),
            "{error}"
        );
    }
    let mut users = Users::default();
    assert_eq!(
        users.set(name("#app"), user(&[])),
        Err(RecordError::Comment)
    );
}

#[test]
fn a_password_is_stored_as_argon2id_and_as_a_verifier_with_separate_salts() {
    let password = Secret::new("pencil").expect("plain text");
    let [one, other] = [0; 2].map(|_| User::with_password(&password, Vec::new()).expect("random"));
    assert!(
        one.password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        one.password
    );
    assert_ne!(
        (&one.password, &one.scram.salt),
        (&other.password, &other.scram.salt)
    );
    assert_eq!(one.scram.salt.len(), 16);
    let scram = &one.scram;
    let again = ScramVerifier::from_password(&password, scram.salt.clone(), scram.iterations);
    assert!(*scram == again);
}

#[test]
fn debug_output_hides_what_helps_to_guess_a_password() {
    let shown = format!("{:?}", user(&["*@a.test"]));
    assert!(
        !shown.contains("argon2id") && shown.contains("*@a.test"),
        "{shown}"
    );
}

#[test]
fn the_file_is_private_and_a_missing_one_has_no_users() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("users");
    assert!(Users::load(&file).expect("none yet").is_empty());
    let mut editing = Editing::open(&file).expect("a directory");
    editing.users.set(name("app"), user(&[])).expect("a name");
    editing.save(None).expect("a disk");
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut editing = Editing::open(&file).expect("a directory");
    assert!(editing.users.remove(&name("app")).is_some());
    assert!(
        !Users::load(&file).expect("users").is_empty(),
        "not before it is saved"
    );
    editing.save(None).expect("a disk");
    assert!(Users::load(&file).expect("users").is_empty());
}

#[test]
fn writers_wait_for_each_other_and_no_change_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("users");
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for n in 0..8 {
            let (file, start) = (&file, &start);
            scope.spawn(move || {
                start.wait();
                let mut editing = Editing::open(file).expect("a directory");
                editing
                    .users
                    .set(name(&format!("u{n}")), user(&[]))
                    .expect("a name");
                editing.save(None).expect("a disk");
            });
        }
    });
    assert_eq!(Users::load(&file).expect("users").iter().count(), 8);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
}

proptest! {
    #[test]
    fn any_text_is_users_or_an_error(text in "\\PC*", tail in "[a$:=\\t\\n4]*") {
        let _ = Users::parse(Path::new("users"), &text);
        let _ = Users::parse(Path::new("users"), &(line(&[]) + &tail));
    }

    #[test]
    fn any_user_is_read_back_as_written(
        who in "[^\\p{Cc}#][^\\p{Cc}]{0,40}",
        salt in prop::collection::vec(any::<u8>(), 1..40),
        keys in any::<([u8; 32], [u8; 32])>(),
        iterations in any::<NonZeroU32>(),
    ) {
        let scram = ScramVerifier { iterations, salt, stored_key: keys.0, server_key: keys.1 };
        let mut users = Users::default();
        users.set(name(&who), User { scram, ..user(&["*@a.test"]) }).expect("a name");
        let read = Users::parse(Path::new("users"), &users.to_text()).expect("users");
        prop_assert_eq!(read, users);
    }
}
