use super::*;

fn whole() -> Filter {
    Filter {
        ids: vec!["06Q3ZV9WQ0K4D".to_owned(), "06Q3ZV9WQ0K4E".to_owned()],
        domain: Some("dest.test".to_owned()),
        sender: Some(String::new()),
        recipient: Some("u+a&b@dest.test".to_owned()),
        older_than: Some(Duration::from_hours(1)),
        state: Some(Condition::InFlight),
    }
}

fn scope(json: &str) -> serde_json::Result<Scope> {
    serde_json::from_str(json)
}

#[test]
fn a_written_filter_is_read_unchanged() {
    let query = "id=06Q3ZV9WQ0K4D&id=06Q3ZV9WQ0K4E&domain=dest.test&sender=\
                 &recipient=u%2Ba%26b%40dest.test&older_than=3600&state=in-flight";
    assert_eq!(whole().query(), query);
    assert_eq!(Filter::from_query(query).expect("a filter"), whole());
    assert_eq!(Filter::default().query(), "");
    assert_eq!(Filter::from_query("").expect("a filter"), Filter::default());
    let json = r#"{"matching":{"id":["06Q3ZV9WQ0K4D","06Q3ZV9WQ0K4E"],"domain":"dest.test","sender":"","recipient":"u+a&b@dest.test","older_than":3600,"state":"in-flight"}}"#;
    for (scope, expected) in [(Scope::All, r#""all""#), (Scope::Matching(whole()), json)] {
        let json = serde_json::to_string(&scope).expect("JSON");
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_str::<Scope>(&json).expect("a scope"),
            scope
        );
    }
    for condition in Condition::ALL {
        assert_eq!(condition.name().parse(), Ok(condition));
    }
}

#[test]
fn a_missing_condition_never_selects_every_message() {
    let nothing = scope(r#"{"matching":{}}"#).expect_err("no condition");
    let nothing = nothing.to_string();
    assert!(nothing.starts_with("which messages? "), "{nothing}");
    for json in [
        "",
        "{}",
        "null",
        "true",
        r#""All""#,
        r#"{"all":false}"#,
        r#"{"all":true,"domain":"dest.test"}"#,
        r#"{"all":null,"matching":{"domain":"dest.test"}}"#,
        r#"{"matching":null}"#,
        r#"{"matching":{"id":[]}}"#,
        r#"{"matching":{"domain":null}}"#,
        r#"{"domain":"dest.test"}"#,
    ] {
        scope(json).expect_err(json);
    }
    let some = Filter {
        domain: Some("dest.test".to_owned()),
        ..Filter::default()
    };
    for (all, filter, expected) in [
        (true, Filter::default(), Ok(Scope::All)),
        (false, some.clone(), Ok(Scope::Matching(some.clone()))),
        (false, Filter::default(), Err(FilterError::Nothing)),
        (true, some, Err(FilterError::AllAndSome)),
    ] {
        assert_eq!(Scope::new(all, filter), expected);
    }
}

#[test]
fn incoming_mail_is_held_by_domain_and_sender_only() {
    for (query, is_for_incoming) in [
        ("domain=a.test&sender=", true),
        ("sender=s%40a.test", true),
        ("domain=a.test&state=queued", false),
        ("recipient=u%40a.test", false),
        ("id=06Q3ZV9WQ0K4D", false),
        ("older_than=3", false),
    ] {
        let filter = Filter::from_query(query).expect("a filter");
        assert_eq!(filter.is_for_incoming(), is_for_incoming, "{filter:?}");
    }
}

#[test]
fn a_fraction_of_a_second_is_rounded_up() {
    for (millis, query) in [
        (500, "older_than=1"),
        (1500, "older_than=2"),
        (2000, "older_than=2"),
        (0, "older_than=0"),
    ] {
        let filter = Filter {
            older_than: Some(Duration::from_millis(millis)),
            ..Filter::default()
        };
        assert_eq!(filter.query(), query);
    }
}

#[test]
fn an_invalid_condition_is_refused_and_never_ignored() {
    for (json, reason) in [
        (r#"{"domain":"a.test","size":"3"}"#, "unknown field `size`"),
        (
            r#"{"domain":"a.test","domain":"b.test"}"#,
            "duplicate field `domain`",
        ),
        (r#"{"state":"dead"}"#, "\"dead\" is not a state"),
        (r#"{"older_than":"1h"}"#, "expected u64"),
        (r#"{"older_than":-1}"#, "expected u64"),
        (r#"{"domain":["a.test"]}"#, "expected a string"),
    ] {
        let error = scope(&format!(r#"{{"matching":{json}}}"#)).expect_err(json);
        assert!(error.to_string().contains(reason), "{error}");
    }
    for query in [
        "domain=a.test&size=3",
        "domain=a.test&domain=b.test",
        "state=dead",
        "state=",
        "older_than=1h",
        "older_than=-1",
        "older_than=",
    ] {
        Filter::from_query(query).expect_err(query);
    }
}
