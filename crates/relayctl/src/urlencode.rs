//! Encodes names and values for the query of a request.

/// Returns an encoded list such as `from=a%40b.test&to=…`.
pub(crate) fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    serde_html_form::to_string(pairs).expect("it encodes every pair of texts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_can_add_a_pair_to_the_query() {
        assert_eq!(encode([]), "");
        let pairs = [("from", "a@b".to_owned()), ("to", "<>".to_owned())];
        assert_eq!(encode(pairs), "from=a%40b&to=%3C%3E");
        let value = |text: &str| encode([("v", text.to_owned())]);
        assert_eq!(value("a.b-c_d~1@x"), "v=a.b-c_d%7E1%40x");
        assert_eq!(value("a&to=b c+d#\u{e9}"), "v=a%26to%3Db+c%2Bd%23%C3%A9");
    }
}
