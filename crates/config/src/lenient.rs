//! The lenient reading: a key with a problem has its default.

use std::path::Path;

use crate::deserializer::Tree;
use crate::error::ConfigError;
use crate::key_path::Step;
use crate::schema::File;
use crate::source::Source;

/// A file as a command reads it. Values that cannot be used, unknown keys and incomplete tables are left out.
/// The daemon reports them when it reads the file.
#[derive(Debug)]
pub struct Lenient {
    /// The keys and values. A key that was left out has its default.
    pub file: File,
    problems: Vec<(Vec<Step>, ConfigError)>,
}

impl Lenient {
    /// Reads the text of a file. `file` is the name of the file in errors. The only error is a text that is
    /// not TOML.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::parse(file, text)?;
        let mut skipped: Vec<Vec<Step>> = Vec::new();
        let mut problems = Vec::new();
        loop {
            let tree = Tree {
                root: source.tree(),
                skipped: &skipped,
            };
            let error = match tree.read() {
                Ok(file) => return Ok(Self { file, problems }),
                Err(error) => error,
            };
            let reason = source.error_of(&error);
            let path = error.path.unwrap_or_default();
            problems.push((path.clone(), reason));
            // Every table but those in lists can be empty, so each round leaves out one thing more.
            if path.is_empty() || skipped.contains(&path) {
                let file = File::default();
                return Ok(Self { file, problems });
            }
            skipped.push(path);
        }
    }

    /// Returns the first problem with one of these keys, or with a part of one. Each key is written as in
    /// an error message, such as `control.socket`; a table stands for all of its keys.
    pub fn require(&self, keys: &[&str]) -> Result<(), ConfigError> {
        let problem = self.problems.iter().find(|(path, _)| {
            let place = crate::key_path::Place(path).to_string();
            keys.iter()
                .any(|key| covers(key, &place) || covers(&place, key))
        });
        match problem {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Whether `inner` is `outer` or a key in it.
fn covers(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ListenAddress;

    fn parse(text: &str) -> Lenient {
        Lenient::parse(Path::new("relayd.toml"), text).expect("TOML")
    }

    #[test]
    fn a_key_with_a_problem_has_its_default_and_the_others_are_read() {
        let read = parse(
            "unknown = 1\nhostname = \"mx.test\"\n[control]\nsocket = 1\n[queue]\nlifetime = \"1d\"\n\
             retry_unit = \"soon\"\n[[listener]]\nrole = \"mx\"\n[[listener]]\naddress = \"unix:/s\"\n",
        );
        let default = File::default();
        assert_eq!(read.file.hostname.expect("a name").0.0, "mx.test");
        assert_eq!(read.file.control, default.control);
        assert_eq!(read.file.queue.lifetime.0.as_secs(), 86_400);
        assert_eq!(read.file.queue.retry_unit, default.queue.retry_unit);
        let addresses: Vec<_> = read.file.listener.iter().map(|l| &l.address.0).collect();
        assert_eq!(addresses, [&ListenAddress::Unix("/s".into())]);
    }

    #[test]
    fn a_command_learns_of_problems_with_the_keys_it_needs() {
        let read = parse("[control]\nsocket = 1\n[queue]\nretry_unit = \"soon\"\n");
        let expected = "relayd.toml:2: control.socket: invalid type: integer \"1\", \
                        expected a path such as \"/var/lib/relayd\"";
        let found = read.require(&["state_dir", "control.socket"]);
        assert_eq!(found.expect_err("a number").to_string(), expected);
        assert!(read.require(&["control"]).is_err());
        assert!(read.require(&["state_dir", "auth"]).is_ok());
        let whole = parse("control = 1");
        assert!(whole.require(&["control.socket"]).is_err());
    }

    #[test]
    fn text_that_is_not_toml_is_an_error() {
        let error = Lenient::parse(Path::new("relayd.toml"), "[control").expect_err("no TOML");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
