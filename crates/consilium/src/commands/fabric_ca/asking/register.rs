//! Commands on identities and affiliations. fabric-ca: cmd/fabric-ca-client/command/identity.go,
//! affiliation.go

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use consilium_ca::client::{AffiliationInfo, IdentityChanges, IdentityInfo, RegisterRequest};
use serde_json::{Value, json};

use super::attributes::{attributes, shown, shown_affiliation};
use super::configuration::{Client, told};

/// What a command is about, and the flags that are its own.
pub(super) struct Managed<'a> {
    pub subject: &'a str,
    pub flags: BTreeMap<String, String>,
}

impl Managed<'_> {
    fn flag(&self, name: &str) -> &str {
        self.flags.get(name).map_or("", String::as_str)
    }

    fn force(&self) -> bool {
        self.flag("force") == "true"
    }

    /// What `--json` gives, which allows no other flag.
    fn json(&self) -> Result<Option<Value>> {
        let Some(text) = self.flags.get("json").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        ensure!(
            self.flags.len() == 1,
            "Can't use 'json' flag in conjunction with other flags"
        );
        let value = serde_json::from_str(text).context("Invalid value for --json option")?;
        Ok(Some(value))
    }

    fn attributes(&self) -> Result<Vec<consilium_ca::Attribute>> {
        let texts: Vec<String> = match self.flags.get("attrs") {
            Some(list) => serde_json::from_str(list)?,
            None => Vec::new(),
        };
        attributes(texts.iter().map(String::as_str))
    }

    fn max_enrollments(&self) -> Result<i64> {
        match self.flag("maxenrollments") {
            "" => Ok(0),
            number => Ok(number.parse()?),
        }
    }
}

impl Client {
    pub(super) async fn register(self) -> Result<()> {
        let id = &self.settings.id;
        ensure!(
            !id.name.is_empty(),
            "Register was called without a Name set"
        );
        let request = RegisterRequest {
            id: id.name.clone(),
            kind: id.kind.clone(),
            secret: id.secret.clone(),
            affiliation: id.affiliation.clone(),
            max_enrollments: id.maxenrollments,
            attributes: self.registered_attributes()?,
        };
        let identity = self.identity()?;
        let secret = self.ca()?.register(&identity, &request).await;
        println!("Password: {}", secret.map_err(told)?);
        Ok(())
    }

    pub(super) async fn list_identities(self, id: Option<&String>) -> Result<()> {
        let identity = self.identity()?;
        let ca = self.ca()?;
        let found = match id.filter(|id| !id.is_empty()) {
            Some(id) => vec![ca.identity(&identity, id).await.map_err(told)?],
            None => ca.identities(&identity).await.map_err(told)?,
        };
        if found.is_empty() {
            println!("No results returned");
        }
        for one in found {
            println!(
                "Name: {}, Type: {}, Affiliation: {}, Max Enrollments: {}, Attributes: {}",
                one.id,
                one.kind,
                one.affiliation,
                one.max_enrollments,
                shown(&one.attrs)
            );
        }
        Ok(())
    }

    pub(super) async fn add_identity(self, managed: Managed<'_>) -> Result<()> {
        let mut body = match managed.json()? {
            Some(body) => body,
            None => json!({
                "type": match managed.flag("type") { "" => "user", kind => kind },
                "affiliation": managed.flag("affiliation"),
                "attrs": managed.attributes()?,
                "max_enrollments": managed.max_enrollments()?,
                "secret": managed.flag("secret"),
            }),
        };
        let Some(members) = body.as_object_mut() else {
            bail!("Invalid value for --json option: it is not an object");
        };
        members.insert("id".into(), managed.subject.into());
        let identity = self.identity()?;
        let added = self.ca()?.add_identity(&identity, &body).await;
        say("added", &added.map_err(told)?, true);
        Ok(())
    }

    pub(super) async fn modify_identity(self, managed: Managed<'_>) -> Result<()> {
        let changes = match managed.json()? {
            Some(body) => changes(&body)?,
            None => IdentityChanges {
                kind: managed.flag("type").to_owned(),
                affiliation: managed.flag("affiliation").to_owned(),
                attrs: managed.attributes()?,
                max_enrollments: managed.max_enrollments()?,
                secret: managed.flag("secret").to_owned(),
            },
        };
        let identity = self.identity()?;
        let ca = self.ca()?;
        let modified = ca
            .modify_identity(&identity, managed.subject, &changes)
            .await;
        say("modified", &modified.map_err(told)?, true);
        Ok(())
    }

    pub(super) async fn remove_identity(self, managed: Managed<'_>) -> Result<()> {
        let identity = self.identity()?;
        let ca = self.ca()?;
        let removed = ca
            .remove_identity(&identity, managed.subject, managed.force())
            .await;
        say("removed", &removed.map_err(told)?, false);
        Ok(())
    }

    pub(super) async fn list_affiliations(self, name: Option<&String>) -> Result<()> {
        let identity = self.identity()?;
        let ca = self.ca()?;
        let found = match name.filter(|name| !name.is_empty()) {
            Some(name) => ca.affiliation(&identity, name).await,
            None => ca.affiliations(&identity).await,
        };
        let root = found.map_err(told)?;
        let name = if root.name.is_empty() {
            "."
        } else {
            &root.name
        };
        println!("affiliation: {name}");
        print_below(&root, 1);
        Ok(())
    }

    pub(super) async fn add_affiliation(self, managed: Managed<'_>) -> Result<()> {
        let identity = self.identity()?;
        let ca = self.ca()?;
        let added = ca
            .add_affiliation(&identity, managed.subject, managed.force())
            .await;
        println!(
            "Successfully added affiliation: {}",
            added.map_err(told)?.name
        );
        Ok(())
    }

    pub(super) async fn modify_affiliation(self, managed: Managed<'_>) -> Result<()> {
        let new_name = managed.flag("name");
        ensure!(!new_name.is_empty(), "New affiliation not specified");
        let identity = self.identity()?;
        let ca = self.ca()?;
        let modified = ca
            .modify_affiliation(&identity, managed.subject, new_name, managed.force())
            .await;
        let shown = shown_affiliation(&modified.map_err(told)?);
        println!("Successfully modified affiliation: {shown}");
        Ok(())
    }

    pub(super) async fn remove_affiliation(self, managed: Managed<'_>) -> Result<()> {
        let identity = self.identity()?;
        let ca = self.ca()?;
        let removed = ca
            .remove_affiliation(&identity, managed.subject, managed.force())
            .await;
        let shown = shown_affiliation(&removed.map_err(told)?);
        println!("Successfully removed affiliation: {shown}");
        Ok(())
    }
}

fn changes(body: &Value) -> Result<IdentityChanges> {
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let attrs = match body.get("attrs") {
        Some(attrs) if !attrs.is_null() => {
            serde_json::from_value(attrs.clone()).context("Invalid value for --json option")?
        }
        _ => Vec::new(),
    };
    Ok(IdentityChanges {
        kind: text("type"),
        affiliation: text("affiliation"),
        attrs,
        max_enrollments: body
            .get("max_enrollments")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        secret: text("secret"),
    })
}

fn say(done: &str, identity: &IdentityInfo, with_secret: bool) {
    let secret = match with_secret {
        true => format!(" Secret: {},", identity.secret),
        false => String::new(),
    };
    println!(
        "Successfully {done} identity - Name: {}, Type: {}, Affiliation: {}, Max Enrollments: \
         {},{secret} Attributes: {}",
        identity.id,
        identity.kind,
        identity.affiliation,
        identity.max_enrollments,
        shown(&identity.attrs)
    );
}

fn print_below(node: &AffiliationInfo, level: usize) {
    for child in &node.affiliations {
        println!("{}affiliation: {}", "   ".repeat(level), child.name);
        print_below(child, level + 1);
    }
}
