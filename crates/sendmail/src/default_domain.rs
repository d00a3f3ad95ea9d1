//! The domain of addresses without one.

use std::cell::OnceCell;

use relay_config::hostname;

/// The domain of the relay's configuration, or else the name of this machine. The name may need a DNS
/// query, so it is looked up only when a message needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DefaultDomain(OnceCell<String>);

impl DefaultDomain {
    /// `configured` is the domain of the configuration, if it has one.
    pub(crate) fn new(configured: Option<String>) -> Self {
        Self(configured.map_or_else(OnceCell::new, OnceCell::from))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.get_or_init(name_of_machine)
    }
}

/// Mail must not fail because this machine has an invalid name. The relay's own rules may rewrite this one.
fn name_of_machine() -> String {
    hostname::of_system().unwrap_or_else(|_| "localhost".to_owned())
}

#[cfg(test)]
impl From<&str> for DefaultDomain {
    fn from(domain: &str) -> Self {
        Self::new(Some(domain.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_machine_is_looked_up_only_when_it_is_needed() {
        let unset = DefaultDomain::new(None);
        assert!(unset.0.get().is_none());
        let expected = hostname::of_system().unwrap_or_else(|_| "localhost".to_owned());
        assert_eq!(unset.as_str(), expected);
    }

    #[test]
    fn a_configured_domain_needs_no_lookup() {
        let domain = DefaultDomain::from("example.org");
        assert_eq!(domain.0.get().map(String::as_str), Some("example.org"));
        assert_eq!(domain.as_str(), "example.org");
    }
}
