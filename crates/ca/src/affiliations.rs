//! The tree of affiliations over the network (fabric-ca: `lib/serveraffiliations.go`).

use serde::Serialize;

use crate::ca::Ca;
use crate::error::{Refusal, code};
use crate::identities::{IdentityInfo, boolean, merge, not_a_registrar};
use crate::registrar;
use crate::request::{self, AffiliationBody};
use crate::revocation::may_use_affiliation;
use crate::server::{Call, Granted};
use crate::store::{Affiliated, Attribute, Identity, above};

/// An affiliation with what is below it (fabric-ca: `api.AffiliationInfo`).
#[derive(Debug, Default, Serialize)]
struct Node<'a> {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    affiliations: Vec<Node<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identities: Vec<IdentityInfo<'a>>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    node: Node<'a>,
    caname: &'a str,
}

impl Ca {
    /// `GET /affiliations` and `POST /affiliations`.
    pub(crate) fn affiliations(&self, caller: &Identity, call: &Call) -> Result<Granted, Refusal> {
        has_role(caller, registrar::AFFILIATION_MANAGER)?;
        if call.method != "GET" {
            return self.add_affiliation(caller, call);
        }
        let all = Affiliated {
            affiliations: self.store.affiliations(&caller.affiliation)?,
            identities: Vec::new(),
        };
        if all.affiliations.is_empty() {
            return Err(Refusal::new(
                404,
                code::AFFILIATION_NOT_FOUND,
                "No affiliations are configured on the CA",
            ));
        }
        // From the top, even for a caller who sees a branch only.
        let all = with_those_above(&all);
        let mut root = tree("", &all);
        if let [_] = root.affiliations.as_slice() {
            root = root.affiliations.remove(0);
        }
        self.answer_affiliation(200, root)
    }

    fn add_affiliation(&self, caller: &Identity, call: &Call) -> Result<Granted, Refusal> {
        let body: AffiliationBody = request::require(&call.body)?;
        let name = body.name.as_str();
        if self.store.has_affiliation(name)? {
            return Err(Refusal::new(
                409,
                code::ADDING_AFFILIATION,
                "Affiliation already exists",
            ));
        }
        if name.split('.').any(str::is_empty) {
            let message = format!("'{name}' is not an affiliation: a part of it is empty");
            return Err(Refusal::new(400, code::ADDING_AFFILIATION, message));
        }
        may_use_affiliation(caller, name)?;
        let parent = above(name);
        if boolean(call, "force")? {
            self.store.add_affiliation(name)?;
        } else if parent.is_empty() || self.store.has_affiliation(parent)? {
            self.store.add_one_affiliation(name)?;
        } else {
            return Err(Refusal::not_found("affiliation"));
        }
        self.audit_change("add-affiliation", &caller.id, name);
        let node = Node {
            name: name.to_owned(),
            ..Node::default()
        };
        self.answer_affiliation(201, node)
    }

    /// `GET`, `PUT` and `DELETE /affiliations/{affiliation}`.
    pub(crate) fn one_affiliation(
        &self,
        caller: &Identity,
        call: &Call,
    ) -> Result<Granted, Refusal> {
        has_role(caller, registrar::AFFILIATION_MANAGER)?;
        match call.method.as_str() {
            "PUT" => self.modify_affiliation(caller, call),
            "DELETE" => self.remove_affiliation(caller, call),
            _ => {
                let name = call.subject.as_str();
                may_use_affiliation(caller, name)?;
                self.known_affiliation(name)?;
                let below = Affiliated {
                    affiliations: self.store.affiliations(name)?,
                    identities: Vec::new(),
                };
                self.answer_affiliation(200, tree(name, &below))
            }
        }
    }

    fn modify_affiliation(&self, caller: &Identity, call: &Call) -> Result<Granted, Refusal> {
        let name = call.subject.as_str();
        let body: AffiliationBody = request::require(&call.body)?;
        let new_name = body.name.as_str();
        may_use_affiliation(caller, name)?;
        may_use_affiliation(caller, new_name)?;
        let force = match call.query("force") {
            "" => false,
            text => registrar::boolean(text).ok_or_else(|| {
                let message = format!(
                    "The 'force' query parameter value must be a boolean: strconv.ParseBool: \
                     parsing \"{text}\": invalid syntax"
                );
                Refusal::new(400, code::ADDING_AFFILIATION, message)
            })?,
        };
        let roles = registrar::roles(caller).ok_or_else(|| not_a_registrar(caller))?;
        self.known_affiliation(name)?;
        let refused = |message: String| Refusal::new(400, code::MODIFYING_AFFILIATION, message);
        if new_name.split('.').any(str::is_empty) {
            let message = format!("'{new_name}' is not an affiliation: a part of it is empty");
            return Err(refused(message));
        }
        if new_name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
        {
            let message = format!("'{name}' cannot be moved below itself");
            return Err(refused(message));
        }
        if self.store.has_affiliation(new_name)? {
            return Err(refused(format!("Affiliation '{new_name}' already exists")));
        }
        let judge = |affected: &Affiliated| {
            if affected.identities.is_empty() {
                return Ok(());
            }
            if roles.is_empty() {
                return Err(Refusal::authorization(
                    code::MISSING_REGISTRAR_ATTRIBUTE,
                    "Modifying affiliation affects identities, but caller is not a registrar",
                ));
            }
            if force {
                return Ok(());
            }
            Err(refused(format!(
                "The request to modify affiliation '{name}' has the following identities \
                 associated: {}. Need to use 'force' to remove identities and affiliation",
                ids(&affected.identities)
            )))
        };
        let moved = |identity: &mut Identity, affiliation: String| {
            let carried = identity
                .attributes
                .iter()
                .find(|it| it.name == registrar::AFFILIATION);
            let attribute = Attribute {
                name: registrar::AFFILIATION.into(),
                value: affiliation.clone(),
                ecert: carried.is_none_or(|it| it.ecert),
            };
            merge(&mut identity.attributes, vec![attribute]);
            identity.affiliation = affiliation;
        };
        let renamed = self
            .store
            .rename_affiliation(name, new_name, judge, moved)??;
        self.audit_change("modify-affiliation", &caller.id, name);
        self.answer_affiliation(200, tree(new_name, &renamed))
    }

    fn remove_affiliation(&self, caller: &Identity, call: &Call) -> Result<Granted, Refusal> {
        let name = call.subject.as_str();
        let refused = |message: String| Refusal::authorization(code::REMOVING_AFFILIATION, message);
        if !self.options.remove_affiliations {
            return Err(refused("Affiliation removal is disabled".into()));
        }
        if caller.affiliation == name {
            return Err(refused(format!(
                "Can't remove affiliation '{name}' because the caller is associated with this \
                 affiliation"
            )));
        }
        may_use_affiliation(caller, name)?;
        let force = boolean(call, "force")?;
        let roles = registrar::roles(caller).ok_or_else(|| not_a_registrar(caller))?;
        self.known_affiliation(name)?;
        let judge = |affected: &Affiliated| {
            let message = match affected {
                Affiliated { identities, .. } if !identities.is_empty() && roles.is_empty() => {
                    "Removing affiliation affects identities, but caller is not a registrar".into()
                }
                Affiliated { identities, .. }
                    if !identities.is_empty() && !self.options.remove_identities =>
                {
                    "Identity removal is not allowed on server".into()
                }
                Affiliated { identities, .. } if !identities.is_empty() && !force => format!(
                    "Cannot delete affiliation '{name}'. The affiliation has the following \
                     identities associated: {}. Need to use 'force' to remove identities and \
                     affiliation",
                    ids(identities)
                ),
                Affiliated { affiliations, .. } if affiliations.len() > 1 && !force => format!(
                    "Cannot delete affiliation '{name}'. The affiliation has the following \
                     sub-affiliations: {}. Need to use 'force' to remove affiliation and \
                     sub-affiliations",
                    affiliations.join(",")
                ),
                _ => return Ok(()),
            };
            Err(refused(message))
        };
        let removed = self.store.remove_affiliation(name, judge)??;
        self.audit_change("remove-affiliation", &caller.id, name);
        self.answer_affiliation(200, tree(name, &removed))
    }

    fn known_affiliation(&self, name: &str) -> Result<(), Refusal> {
        match self.store.has_affiliation(name)? {
            true => Ok(()),
            false => Err(Refusal::not_found("affiliation")),
        }
    }

    fn answer_affiliation(&self, status: u16, node: Node<'_>) -> Result<Granted, Refusal> {
        let caname = &self.options.name;
        Granted::json(status, &Answer { node, caname })
    }
}

/// Whether a boolean attribute of the caller is true.
fn has_role(caller: &Identity, role: &str) -> Result<(), Refusal> {
    let Some(value) = caller.attribute(role) else {
        return Err(Refusal::authorization(
            code::MISSING_ATTRIBUTE,
            format!("Invoker does not have following role'{role}'"),
        ));
    };
    match registrar::boolean(value) {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::authorization(
            code::MISSING_ROLE,
            format!("Caller has a value of 'false' for attribute/role '{role}'"),
        )),
        None => {
            let message = format!(
                "Failed to get boolean value of '{role}': 'strconv.ParseBool: parsing \
                 \"{value}\": invalid syntax'"
            );
            Err(Refusal::new(400, code::INVALID_BOOLEAN, message))
        }
    }
}

fn ids(identities: &[Identity]) -> String {
    let ids: Vec<_> = identities.iter().map(|it| it.id.as_str()).collect();
    ids.join(",")
}

/// The affiliations together with all that stand above them, in order and each once.
fn with_those_above(all: &Affiliated) -> Affiliated {
    let mut names = std::collections::BTreeSet::new();
    for affiliation in &all.affiliations {
        let mut name = affiliation.as_str();
        while !name.is_empty() && names.insert(name.to_owned()) {
            name = above(name);
        }
    }
    Affiliated {
        affiliations: names.into_iter().collect(),
        identities: Vec::new(),
    }
}

/// The part of the tree that begins at `name`. As deep as names have parts, which the size of a
/// request bounds.
fn tree<'a>(name: &str, all: &'a Affiliated) -> Node<'a> {
    let below = all
        .affiliations
        .iter()
        .filter(|it| above(it) == name && !it.is_empty() && it.as_str() != name);
    let here = all.identities.iter().filter(|it| it.affiliation == name);
    Node {
        name: name.to_owned(),
        affiliations: below.map(|child| tree(child, all)).collect(),
        identities: here.map(IdentityInfo::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_becomes_a_tree() {
        let all = Affiliated {
            affiliations: ["a.b.c", "a", "x.y"].map(String::from).to_vec(),
            identities: vec![Identity::with_attributes("alice", "a.b", &[])],
        };
        let mut complete = with_those_above(&all);
        assert_eq!(complete.affiliations, ["a", "a.b", "a.b.c", "x", "x.y"]);
        complete.identities = all.identities;
        let root = serde_json::to_value(tree("", &complete)).unwrap();
        let expected = serde_json::json!({"name": "", "affiliations": [
            {"name": "a", "affiliations": [{
                "name": "a.b",
                "affiliations": [{"name": "a.b.c"}],
                "identities": [{"id": "alice", "type": "client", "affiliation": "a.b",
                                "attrs": [], "max_enrollments": -1}],
            }]},
            {"name": "x", "affiliations": [{"name": "x.y"}]},
        ]});
        assert_eq!(root, expected);
    }
}
