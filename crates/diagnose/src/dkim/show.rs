//! Prints the results of `dkim testkey` and `dkim rotate`.

use std::io::{self, Write};

use super::rotation_step::{Rotation, RotationStep, Standing};
use super::tested::Tested;
use relay_terminal::escape;

/// Prints one line for each key, and one with advice if there is any.
pub(super) fn tested_keys(out: &mut impl Write, tested: &[Tested]) -> io::Result<()> {
    let mut tested = tested.iter();
    tested.try_for_each(|tested| key(out, tested))
}

fn key(out: &mut impl Write, tested: &Tested) -> io::Result<()> {
    writeln!(out, "{}: {}", escape(&tested.name), escape(&tested.result))?;
    match &tested.advice {
        Some(advice) => writeln!(out, "    {}", escape(advice)),
        None => Ok(()),
    }
}

/// Prints one line for each step, and the instructions below the next step.
pub(super) fn rotation(out: &mut impl Write, rotation: &Rotation) -> io::Result<()> {
    let mut steps = rotation.steps.iter().enumerate();
    steps.try_for_each(|(index, found)| step(out, index + 1, found))
}

fn step(out: &mut impl Write, number: usize, step: &RotationStep) -> io::Result<()> {
    let standing = match step.standing {
        Standing::Done => "done",
        Standing::Next => "next",
        Standing::Later => "later",
    };
    writeln!(out, "{standing:<5}  {number}. {}", escape(&step.what))?;
    match &step.how {
        Some(how) => how.lines().try_for_each(|line| {
            writeln!(out, "          {}", escape(&line.replace('\t', "    ")))
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_with_advice_below_it() {
        let ok = Tested {
            name: "mail._domainkey.a.test".to_owned(),
            ok: true,
            result: "ok".to_owned(),
            advice: None,
            record: None,
        };
        let other = Tested {
            name: "x\u{1b}".to_owned(),
            ok: false,
            result: "no record".to_owned(),
            advice: Some("publish\none".to_owned()),
            record: None,
        };
        let mut out = Vec::new();
        tested_keys(&mut out, &[ok, other]).expect("memory");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "mail._domainkey.a.test: ok\nx\\u{1b}: no record\n    publish\\none\n"
        );
    }

    #[test]
    fn the_next_step_has_its_instructions_below_it() {
        let step = |standing, how: Option<&str>| RotationStep {
            standing,
            what: "do it".to_owned(),
            how: how.map(str::to_owned),
        };
        let found = Rotation {
            steps: vec![
                step(Standing::Done, None),
                step(Standing::Next, Some("a (\n\t\"b\" )")),
                step(Standing::Later, None),
            ],
        };
        let mut out = Vec::new();
        rotation(&mut out, &found).expect("memory");
        let expected = "done   1. do it\nnext   2. do it\n          a (\n              \"b\" )\n\
                        later  3. do it\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
