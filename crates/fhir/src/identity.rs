//! Who asks, and what a token lets it ask for.

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use http::request::Parts;

/// A caller: the identity of an organization that its transactions are signed with, and what its
/// token narrows it to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Which identity of the wallet signs; means something to the [`crate::Ledger`] only.
    pub name: String,
    /// MSP id of its organization.
    pub msp: String,
    /// `hc.role`.
    pub role: Option<String>,
    /// `hc.sid`: a patient's or guardian's own pseudonym.
    pub sid: Option<String>,
    /// `hc.pid`: a practitioner's pseudonym.
    pub pid: Option<String>,
    /// SMART scopes; `None` where nothing narrows the certificate.
    pub scopes: Option<Vec<Scope>>,
    /// The subject that `launch/patient` fixes, as a pseudonym.
    pub launch_patient: Option<String>,
    /// Purpose of use from the token, a code of v3-ActReason.
    pub purpose: Option<String>,
}

impl Identity {
    /// Whether it speaks for itself or a ward.
    pub fn is_person(&self) -> bool {
        matches!(self.role.as_deref(), Some("patient" | "guardian"))
    }

    /// Whether its scopes cover an action on a type.
    pub fn may(&self, action: Action, kind: &str) -> bool {
        self.scopes
            .as_ref()
            .is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(action, kind)))
    }
}

/// What a scope can permit (SMART App Launch 2.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create.
    Create,
    /// Read, vread and history of an instance.
    Read,
    /// Update.
    Update,
    /// Delete.
    Delete,
    /// Search and history of a type.
    Search,
}

impl Action {
    fn letter(self) -> char {
        match self {
            Action::Create => 'c',
            Action::Read => 'r',
            Action::Update => 'u',
            Action::Delete => 'd',
            Action::Search => 's',
        }
    }
}

/// One SMART scope on resources, such as `user/Observation.rs` or `system/*.cruds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    context: String,
    kind: String,
    actions: String,
}

impl Scope {
    /// Whether it permits nothing that the other does not.
    pub fn is_within(&self, other: &Scope) -> bool {
        self.context == other.context
            && (other.kind == "*" || self.kind == other.kind)
            && self
                .actions
                .chars()
                .all(|action| other.actions.contains(action))
    }

    fn covers(&self, action: Action, kind: &str) -> bool {
        (self.kind == "*" || self.kind == kind) && self.actions.contains(action.letter())
    }
}

/// A text that is no scope on resources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a scope like user/Observation.rs")]
pub struct NoScope(String);

impl FromStr for Scope {
    type Err = NoScope;

    /// Version 2 (`user/Observation.rs`) and version 1 (`user/Observation.read`). A scope with a
    /// query narrows to less than a type, which is not supported, and is refused.
    fn from_str(text: &str) -> Result<Self, NoScope> {
        let wrong = || NoScope(text.chars().take(80).collect());
        let (context, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (kind, actions) = rest.split_once('.').ok_or_else(wrong)?;
        let actions = match actions {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            other => other,
        };
        let known = matches!(context, "patient" | "user" | "system")
            && (kind == "*" || (!kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphabetic())))
            && !actions.is_empty()
            && actions.chars().all(|c| "cruds".contains(c));
        if !known {
            return Err(wrong());
        }
        Ok(Scope {
            context: context.to_owned(),
            kind: kind.to_owned(),
            actions: actions.to_owned(),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.context, self.kind, self.actions)
    }
}

/// No identity could be made of what the request carries: answered with 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub String);

/// Finds out who asks, from headers and from what the listener left in the extensions.
pub trait Authenticator: Send + Sync {
    /// The caller of a request.
    ///
    /// # Errors
    /// [`Unauthenticated`], with a sentence for the caller.
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
    ) -> BoxFuture<'a, Result<Identity, Unauthenticated>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_it_names() {
        for (scope, action, kind, covers) in [
            ("user/Observation.rs", Action::Read, "Observation", true),
            ("user/Observation.rs", Action::Search, "Observation", true),
            ("user/Observation.rs", Action::Create, "Observation", false),
            ("user/Observation.rs", Action::Read, "Condition", false),
            ("system/*.cruds", Action::Update, "Claim", true),
            ("patient/*.read", Action::Read, "Claim", true),
            ("patient/*.write", Action::Read, "Claim", false),
            ("user/Consent.*", Action::Delete, "Consent", true),
        ] {
            let identity = Identity {
                scopes: Some(vec![scope.parse().unwrap()]),
                ..Identity::default()
            };
            assert_eq!(identity.may(action, kind), covers, "{scope} {action:?}");
        }
        assert!(Identity::default().may(Action::Delete, "Claim"));
    }

    #[test]
    fn what_is_no_scope_is_told() {
        for text in [
            "openid",
            "user/Observation",
            "other/Observation.rs",
            "user/.rs",
            "user/Observation.",
            "user/Observation.x",
            "user/Observation.rs?category=lab",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
