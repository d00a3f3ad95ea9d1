//! `[rewrite]`

use relay_smtpd::{Replacement, Rewriting};

use super::Mapping;

impl Mapping<'_> {
    pub(super) fn rewriting(&self) -> Rewriting {
        let table = &self.file.rewrite;
        let rules = table.from.iter().map(|rule| Replacement {
            pattern: rule.0.0.clone(),
            sender: rule.1.0.clone(),
        });
        Rewriting {
            domain: table.domain.as_ref().map(|domain| domain.0.as_str().into()),
            from: rules.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError};

    fn parse(rewrite: &str) -> Result<Config, ConfigError> {
        let text = format!("hostname = \"relay.test\"\n[rewrite]\n{rewrite}");
        Config::parse("relayd.toml".as_ref(), &text)
    }

    #[test]
    fn rules_are_kept_in_their_order() {
        let config = parse(
            "domain = \"B\u{fc}cher.test\"\nfrom = [[\"root@*\", \"ops@a.test\"], [\"*@*\", \"any@a.test\"]]",
        );
        let rewriting = config.expect("good rules").rewriting;
        assert_eq!(rewriting.domain.as_deref(), Some("xn--bcher-kva.test"));
        for (sender, expected) in [
            ("root@x.test", "<ops@a.test>"),
            ("u@x.test", "<any@a.test>"),
        ] {
            let sender = sender.parse().expect("a sender");
            assert_eq!(rewriting.sender(sender).to_string(), expected);
        }
        let nothing = parse("").expect("no rules").rewriting;
        assert_eq!(nothing, relay_smtpd::Rewriting::default());
    }

    #[test]
    fn a_bad_rule_is_reported_with_its_line() {
        for (rewrite, expected) in [
            (
                "domain = \"a b\"",
                "relayd.toml:3: rewrite.domain: \"a b\" is not a domain such as \"example.org\": labels are made of letters, digits, and hyphens between them",
            ),
            (
                "from = [\n[\"root\", \"ops@a.test\"]]",
                "relayd.toml:4: rewrite.from: \"root\" is not an address such as \"user@example.org\", \"*@example.org\", \"*@.example.org\" or \"root@*\"",
            ),
            (
                "from = [[\"root@*\", \"ops\"]]",
                "relayd.toml:3: rewrite.from: \"ops\" is not an address such as \"postmaster@example.org\": an address is local-part@domain",
            ),
            (
                "from = [\n[\"a@*\", \"b@c.test\"],\n[\"root@*\", \"\u{e4}@a.test\"]]",
                "relayd.toml:5: rewrite.from: \u{e4}@a.test: a sender for all mail must be ASCII, because not every host accepts other addresses",
            ),
            (
                "from = [[\"root@*\"]]",
                "relayd.toml:3: rewrite.from: invalid length 1, expected a pair such as [\"root@*\", \"ops@example.org\"]",
            ),
            (
                "from = [\"root@*\", \"ops@a.test\"]",
                "relayd.toml:3: rewrite.from: invalid type: string \"root@*\", expected a pair such as [\"root@*\", \"ops@example.org\"]",
            ),
            (
                "from = [[\"root@*\", \"a@b.test\", \"c@d.test\"]]",
                "relayd.toml:3: rewrite.from: must be a pair: the addresses to replace, and the address to use instead",
            ),
            (
                "domains = []",
                "relayd.toml:3: unknown key \"domains\" in [rewrite] (did you mean \"domain\"?)",
            ),
        ] {
            let found = parse(rewrite).expect_err(rewrite).to_string();
            assert_eq!(found, expected);
        }
    }
}
