//! The names of listener roles.

use relay_smtpd::Role;

/// The role as in the configuration.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
        Role::Submission => "submission",
        Role::Submissions => "submissions",
    }
}
