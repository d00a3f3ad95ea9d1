//! A command line is a command or an error; what a command holds can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::command::{self, Command, MailParams};

fuzz_target!(|line: &[u8]| {
    let Ok(command) = command::parse(line) else {
        return;
    };
    let written = match &command {
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Helo(name) => format!("HELO {name}"),
        Command::Mail { path, params } => format!("MAIL FROM:{path}{}", written_params(params)),
        Command::Rcpt { path, .. } => format!("RCPT TO:{path}"),
        _ => return,
    };
    assert!(!written.contains(char::is_control), "{written:?}");
    assert_eq!(command::parse(written.as_bytes()), Ok(command));
});

fn written_params(params: &MailParams) -> String {
    let size = params.size.map(|size| format!(" SIZE={size}"));
    let body = params.eight_bit.then(|| " BODY=8BITMIME".to_owned());
    let utf8 = params.utf8.then(|| " SMTPUTF8".to_owned());
    [size, body, utf8].into_iter().flatten().collect()
}
