//! The man page sendmail(8).

use clap_mangen::roff::{Roff, bold, italic, roman};
use relay_cli::sendmail::{ABOUT, NOTES, OPTIONS, USAGE};

use super::{see_also, title};

pub(super) fn page(date: &str) -> String {
    let mut roff = Roff::new();
    title(&mut roff, "sendmail", "8", date);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("sendmail - {}", ABOUT.trim_end_matches('.')))]);
    roff.control("SH", ["SYNOPSIS"]);
    for (index, (usage, _)) in USAGE.iter().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text([bold(*usage)]);
    }
    roff.control("SH", ["DESCRIPTION"]);
    for (usage, what) in USAGE {
        let name = usage.split(' ').next().unwrap_or_default();
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(*what)]);
    }
    for note in NOTES {
        roff.control("PP", []);
        roff.text([roman(*note)]);
    }
    roff.control("SH", ["OPTIONS"]);
    for option in OPTIONS {
        roff.control("TP", []);
        if option.value.is_empty() {
            roff.text([bold(option.names)]);
        } else {
            roff.text([bold(option.names), roman(" "), italic(option.value)]);
        }
        roff.text([roman(option.help)]);
    }
    see_also(
        &mut roff,
        &[("relayctl", 8), ("relayd", 8), ("relayd.toml", 5)],
    );
    roff.to_roff()
}
