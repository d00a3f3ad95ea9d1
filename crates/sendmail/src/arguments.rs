//! Parses the command line in its traditional form: options and recipients in any order, with several options
//! in one word, and with values in the same word or the next one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use relay_smtp::dsn::{DsnRequest, EnvelopeId, Notify};

use crate::error::SendmailError;

/// What the program does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `-bm`: read a message and send it.
    #[default]
    Send,
    /// `-bs`
    Smtp,
    /// `-bp`, `mailq`
    Mailq,
    /// `-q`
    Retry,
    /// `-bi`, `newaliases`
    NewAliases,
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// `-t`: take the recipients from the header.
    pub(crate) from_header: bool,
    /// `-i`: a line with a single dot does not end the message.
    pub(crate) ignore_dots: bool,
    /// `-f` or `-r`, unparsed.
    pub(crate) sender: Option<String>,
    /// `-F`
    pub(crate) full_name: Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) notify: Notify,
    pub(crate) dsn: DsnRequest,
    /// The recipients, unparsed.
    pub(crate) recipients: Vec<String>,
}

/// Options that need a value, in the same word or the next one.
const WITH_VALUE: &str = "BCFLNORVXfhopr";
/// Options whose optional value is in the same word.
const WITH_REST: &str = "Abdeq";
/// Options without a value.
const ALONE: &str = "GIUimnstv";

impl Options {
    /// Parses a command line. Its first word is the name of the program.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, SendmailError> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let mut options = Self {
            mode: mode_of_program(Path::new(&name)),
            ..Self::default()
        };
        while let Some(word) = words.next() {
            let word = text(word)?;
            match word.strip_prefix('-') {
                Some("-") => {
                    let rest: Result<Vec<_>, _> = words.by_ref().map(text).collect();
                    options.recipients.extend(rest?);
                }
                Some(long) if long.starts_with('-') => options.long(&long[1..], &mut words)?,
                Some("") | None => options.recipients.push(word),
                Some(letters) => options.letters(letters, &mut words)?,
            }
        }
        Ok(options)
    }

    fn long(
        &mut self,
        word: &str,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), SendmailError> {
        match word
            .split_once('=')
            .map_or((word, None), |(n, v)| (n, Some(v)))
        {
            ("config", Some(file)) => self.config = Some(file.into()),
            ("config", None) => {
                let missing = || SendmailError::Usage("--config needs a file".to_owned());
                self.config = Some(words.next().ok_or_else(missing)?.into());
            }
            ("help", None) => self.mode = Mode::Help,
            ("version", None) => self.mode = Mode::Version,
            _ => return Err(SendmailError::Usage(format!("unknown option --{word}"))),
        }
        Ok(())
    }

    /// Parses combined options: `-ti` is `-t -i`. An option with a value ends the word.
    fn letters(
        &mut self,
        letters: &str,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), SendmailError> {
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            if ALONE.contains(letter) {
                self.alone(letter);
            } else if WITH_REST.contains(letter) {
                return self.with_value(letter, rest.to_owned());
            } else if WITH_VALUE.contains(letter) {
                let value = match rest {
                    "" => {
                        let missing = || SendmailError::Usage(format!("-{letter} needs a value"));
                        text(words.next().ok_or_else(missing)?)?
                    }
                    rest => rest.to_owned(),
                };
                return self.with_value(letter, value);
            } else {
                return Err(SendmailError::Usage(format!("unknown option -{letter}")));
            }
        }
        Ok(())
    }

    fn alone(&mut self, letter: char) {
        match letter {
            't' => self.from_header = true,
            'i' => self.ignore_dots = true,
            'I' => self.mode = Mode::NewAliases,
            _ => {}
        }
    }

    fn with_value(&mut self, letter: char, value: String) -> Result<(), SendmailError> {
        let wrong = |reason| SendmailError::Usage(format!("-{letter} {value}: {reason}"));
        match letter {
            'b' => self.mode = mode_of_letter(&value)?,
            'q' => self.mode = Mode::Retry,
            'C' => self.config = Some(value.into()),
            'F' => self.full_name = Some(value),
            'f' | 'r' => self.sender = Some(value),
            'N' => self.notify = value.parse().map_err(wrong)?,
            'R' => self.dsn.ret = Some(value.parse().map_err(wrong)?),
            'V' => self.dsn.envid = Some(envelope_id(&value).map_err(wrong)?),
            'o' if value == "i" => self.ignore_dots = true,
            'o' if value == "t" => self.from_header = true,
            _ => {}
        }
        Ok(())
    }
}

fn mode_of_program(program: &Path) -> Mode {
    match program.file_name().and_then(|name| name.to_str()) {
        Some("mailq") => Mode::Mailq,
        Some("newaliases") => Mode::NewAliases,
        _ => Mode::Send,
    }
}

fn mode_of_letter(letter: &str) -> Result<Mode, SendmailError> {
    match letter {
        "m" => Ok(Mode::Send),
        "s" => Ok(Mode::Smtp),
        "p" => Ok(Mode::Mailq),
        "i" => Ok(Mode::NewAliases),
        "d" | "D" => Err(SendmailError::Usage(
            "the daemon is relayd: start it with systemctl start relayd".to_owned(),
        )),
        other => Err(SendmailError::Usage(format!(
            "unknown option -b{other}: the modes are -bm, -bs, -bp and -bi"
        ))),
    }
}

/// Encodes an envelope id. Programs pass it unencoded; SMTP needs xtext (RFC 3461 §4).
fn envelope_id(id: &str) -> Result<EnvelopeId, relay_smtp::dsn::DsnError> {
    let mut xtext = String::with_capacity(id.len());
    for octet in id.bytes() {
        match octet {
            b'!'..=b'~' if octet != b'+' && octet != b'=' => xtext.push(char::from(octet)),
            other => write!(xtext, "+{other:02X}").expect("writing to a String cannot fail"),
        }
    }
    xtext.parse()
}

fn text(word: OsString) -> Result<String, SendmailError> {
    word.into_string()
        .map_err(|word| SendmailError::Usage(format!("{} is not UTF-8", word.display())))
}

#[cfg(test)]
mod tests {
    use relay_smtp::dsn::Ret;

    use super::*;

    fn parse(line: &str) -> Result<Options, SendmailError> {
        Options::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn options_may_be_combined_and_values_may_be_separate_words() {
        for line in [
            "sendmail -t -i -f a@b.test -F Ann u@d.test",
            "sendmail -ti -fa@b.test -FAnn u@d.test",
            "sendmail -tifa@b.test -F Ann -- u@d.test",
            "/usr/sbin/sendmail -oi -ot u@d.test -r a@b.test -F Ann",
            "sendmail -t -oem -odb -om -oi -f a@b.test -FAnn -U -B 8BITMIME -O ErrorMode=m u@d.test",
        ] {
            let options = parse(line).expect(line);
            assert!(options.from_header && options.ignore_dots, "{line}");
            assert_eq!(options.sender.as_deref(), Some("a@b.test"), "{line}");
            assert_eq!(options.full_name.as_deref(), Some("Ann"), "{line}");
            assert_eq!(options.recipients, ["u@d.test"], "{line}");
        }
    }

    #[test]
    fn the_options_that_known_programs_use_are_accepted() {
        for (line, sender, recipients) in [
            (
                "sendmail -FCronDaemon -i -B8BITMIME -oem root",
                None,
                &["root"][..],
            ),
            (
                "sendmail -FCronDaemon -odi -oem -oi -t -f root",
                Some("root"),
                &[],
            ),
            (
                "sendmail -i -r a@b.test -- u@d.test",
                Some("a@b.test"),
                &["u@d.test"],
            ),
            (
                "sendmail -v -em -m u@d.test v@d.test",
                None,
                &["u@d.test", "v@d.test"],
            ),
            ("sendmail -t -i -fwww@b.test", Some("www@b.test"), &[]),
            (
                "sendmail -i -f a@b.test u@d.test",
                Some("a@b.test"),
                &["u@d.test"],
            ),
            (
                "sendmail -oem -oi -B 8BITMIME -f a@b.test -- u@d.test",
                Some("a@b.test"),
                &["u@d.test"],
            ),
            (
                "sendmail -G -i -N never -f  -- u@d.test",
                Some(""),
                &["u@d.test"],
            ),
            (
                "sendmail -bm -oee -L tag -h 3 -X /dev/null -Am u@d.test",
                None,
                &["u@d.test"],
            ),
        ] {
            let options = parse(line).expect(line);
            assert_eq!(options.mode, Mode::Send, "{line}");
            assert_eq!(options.sender.as_deref(), sender, "{line}");
            assert_eq!(options.recipients, recipients, "{line}");
            let is_dotted = line.contains("-i") || line.contains("-oi");
            assert_eq!(options.ignore_dots, is_dotted, "{line}");
        }
    }

    #[test]
    fn the_mode_comes_from_an_option_or_from_the_programs_name() {
        for (line, mode) in [
            ("sendmail u@d.test", Mode::Send),
            ("sendmail -bm u@d.test", Mode::Send),
            ("sendmail -bs", Mode::Smtp),
            ("sendmail -bp", Mode::Mailq),
            ("sendmail -bi", Mode::NewAliases),
            ("sendmail -I", Mode::NewAliases),
            ("sendmail -q", Mode::Retry),
            ("sendmail -q30m", Mode::Retry),
            ("/usr/bin/mailq", Mode::Mailq),
            ("newaliases", Mode::NewAliases),
            ("sendmail --help", Mode::Help),
            ("sendmail --version", Mode::Version),
        ] {
            assert_eq!(parse(line).expect(line).mode, mode, "{line}");
        }
    }

    #[test]
    fn dsn_options_have_the_values_of_smtp() {
        let options =
            parse("sendmail -N failure,delay -R hdrs -V a=b+c u@d.test").expect("options");
        assert!(options.notify.on_failure() && !options.notify.on_success());
        assert_eq!(options.dsn.ret, Some(Ret::Headers));
        let envid = options.dsn.envid.expect("an id");
        assert_eq!(envid.as_str(), "a+3Db+2Bc");
    }

    #[test]
    fn an_invalid_command_line_is_refused_with_the_reason() {
        for (line, expected) in [
            ("sendmail -Z", "unknown option -Z"),
            ("sendmail --zap", "unknown option --zap"),
            ("sendmail -f", "-f needs a value"),
            ("sendmail -bd", "the daemon is relayd"),
            ("sendmail -bt", "unknown option -bt"),
            ("sendmail -N often", "-N often: NOTIFY is NEVER"),
            ("sendmail --config", "--config needs a file"),
        ] {
            let refused = parse(line).expect_err(line).to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
}
