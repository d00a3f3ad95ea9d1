//! The names of listener roles.

use relay_smtpd::Role;

/// Returns the name of the role as in the configuration.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
        Role::Submission => "submission",
        Role::Submissions => "submissions",
    }
}
