use super::*;

fn pair((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn scope(pairs: &[(&str, &str)]) -> Result<Scope, FilterError> {
    Scope::from_pairs(pairs.iter().copied().map(pair))
}

fn whole() -> Filter {
    Filter {
        ids: vec!["06Q3ZV9WQ0K4D".to_owned(), "06Q3ZV9WQ0K4E".to_owned()],
        domain: Some("dest.test".to_owned()),
        sender: Some(String::new()),
        recipient: Some("u@dest.test".to_owned()),
        older_than: Some(Duration::from_hours(1)),
        state: Some(Condition::InFlight),
    }
}

#[test]
fn what_is_written_is_read() {
    for scope in [Scope::All, Scope::Some(whole())] {
        let pairs = scope.pairs();
        let pairs = pairs.iter().map(|(name, value)| pair((name, value)));
        assert_eq!(Scope::from_pairs(pairs), Ok(scope));
    }
    for condition in Condition::ALL {
        assert_eq!(condition.name().parse(), Ok(condition));
    }
}

#[test]
fn nothing_is_never_everything() {
    assert_eq!(scope(&[]), Err(FilterError::Nothing));
    for (name, value) in [("all", "false"), ("all", ""), ("All", "true")] {
        let name_error = Err(FilterError::Name(name.to_owned()));
        assert_eq!(scope(&[(name, value)]), name_error);
    }
    let both = scope(&[("all", "true"), ("domain", "dest.test")]);
    assert_eq!(both, Err(FilterError::AllAndSome));
}

#[test]
fn what_comes_in_is_held_by_domain_and_sender_alone() {
    for (pairs, is_for_incoming) in [
        (&[("domain", "a.test"), ("sender", "")][..], true),
        (&[("sender", "s@a.test")], true),
        (&[("domain", "a.test"), ("state", "queued")], false),
        (&[("recipient", "u@a.test")], false),
        (&[("id", "06Q3ZV9WQ0K4D")], false),
        (&[("older_than", "3")], false),
    ] {
        let pairs = pairs.iter().copied().map(pair);
        let filter = Filter::from_pairs(pairs).expect("a filter");
        assert_eq!(filter.is_for_incoming(), is_for_incoming, "{filter:?}");
    }
}

#[test]
fn a_part_of_a_second_does_not_make_younger_messages_old_enough() {
    for (millis, seconds) in [(500, "1"), (1500, "2"), (2000, "2"), (0, "0")] {
        let filter = Filter {
            older_than: Some(Duration::from_millis(millis)),
            ..Filter::default()
        };
        assert_eq!(filter.pairs(), [("older_than", seconds.to_owned())]);
    }
}

#[test]
fn what_is_not_understood_is_never_left_out() {
    for (pairs, error) in [
        (
            &[("domain", "a.test"), ("size", "3")][..],
            FilterError::Name("size".to_owned()),
        ),
        (
            &[("domain", "a.test"), ("domain", "b.test")],
            FilterError::Twice("domain"),
        ),
        (&[("state", "dead")], FilterError::State("dead".to_owned())),
        (&[("older_than", "1h")], FilterError::Age("1h".to_owned())),
        (&[("older_than", "-1")], FilterError::Age("-1".to_owned())),
    ] {
        assert_eq!(scope(pairs), Err(error));
    }
}
