//! A parsed command can be formatted and parsed again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_smtp::command::{self, Command, MailParams, RcptParams};
use relay_smtp::dsn::Notify;

fuzz_target!(|line: &[u8]| {
    let Ok(command) = command::parse(line) else {
        return;
    };
    let written = match &command {
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Helo(name) => format!("HELO {name}"),
        Command::Mail { path, params } => format!("MAIL FROM:{path}{}", written_params(params)),
        Command::Rcpt { path, params } => format!("RCPT TO:{path}{}", written_rcpt_params(params)),
        _ => return,
    };
    assert!(!written.contains(char::is_control), "{written:?}");
    assert_eq!(command::parse(written.as_bytes()), Ok(command));
});

fn written_params(params: &MailParams) -> String {
    let size = params.size.map(|size| format!(" SIZE={size}"));
    let body = params.eight_bit.then(|| " BODY=8BITMIME".to_owned());
    let utf8 = params.utf8.then(|| " SMTPUTF8".to_owned());
    let ret = params.dsn.ret.map(|ret| format!(" RET={ret}"));
    let envid = params.dsn.envid.as_ref().map(|id| format!(" ENVID={id}"));
    let all = [size, body, utf8, ret, envid];
    all.into_iter().flatten().collect()
}

fn written_rcpt_params(params: &RcptParams) -> String {
    let notify = Some(params.notify).filter(|notify| *notify != Notify::Unspecified);
    let notify = notify.map(|notify| format!(" NOTIFY={notify}"));
    let orcpt = params.orcpt.as_ref().map(|orcpt| format!(" ORCPT={orcpt}"));
    [notify, orcpt].into_iter().flatten().collect()
}
