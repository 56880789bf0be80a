//! `crypto-config.yaml`: which organizations there are, with which nodes and users.
//! fabric: cmd/cryptogen/main.go

use serde::Deserialize;

use super::template;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Specification {
    /// Organizations with orderers.
    pub orderer_orgs: Vec<Organization>,
    /// Organizations with peers.
    pub peer_orgs: Vec<Organization>,
}

/// An organization.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Organization {
    /// For people; the folder is named after the domain.
    #[serde(rename = "Name")]
    pub _name: String,
    /// Domain, such as `org1.example.com`.
    pub domain: String,
    /// Whether a certificate's unit tells what its owner is.
    #[serde(rename = "EnableNodeOUs")]
    pub enable_node_ous: bool,
    /// The authority.
    #[serde(rename = "CA")]
    pub ca: Node,
    /// Nodes by number.
    pub template: Numbered,
    /// Nodes by name.
    pub specs: Vec<Node>,
    /// People.
    pub users: Users,
}

/// A host with a certificate.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Node {
    /// Name of the host without the domain.
    pub hostname: String,
    /// Common name; by default the host's name in the domain.
    pub common_name: String,
    /// Subject of an authority's certificates, and of those it issues.
    pub country: String,
    /// The same.
    pub province: String,
    /// The same.
    pub locality: String,
    /// The same.
    pub organizational_unit: String,
    /// The same.
    pub street_address: String,
    /// The same.
    pub postal_code: String,
    /// Further names and addresses.
    #[serde(rename = "SANS")]
    pub hosts: Vec<String>,
    /// `ecdsa` or `ed25519`.
    pub public_key_algorithm: String,
}

/// `Template`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Numbered {
    /// How many.
    pub count: i64,
    /// Number of the first one.
    pub start: i64,
    /// Template of their names.
    pub hostname: String,
    /// Templates of further names.
    #[serde(rename = "SANS")]
    pub hosts: Vec<String>,
    /// `ecdsa` or `ed25519`.
    pub public_key_algorithm: String,
}

/// `Users`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Users {
    /// How many besides the administrator.
    pub count: i64,
    /// `ecdsa` or `ed25519`.
    pub public_key_algorithm: String,
}

/// The algorithm that counts where none is named.
const ECDSA: &str = "ecdsa";

/// `given`, or the default.
fn or<'a>(given: &'a str, default: &'a str) -> &'a str {
    if given.is_empty() { default } else { given }
}

impl Users {
    /// The algorithm of their keys.
    pub fn algorithm(&self) -> &str {
        or(&self.public_key_algorithm, ECDSA)
    }
}

impl Organization {
    /// Lists the numbered nodes with the others, and fills in everybody's names. `kind` is `peer` or
    /// `orderer`.
    ///
    /// # Errors
    /// A template that cannot be read, in the words of Fabric's cryptogen.
    pub fn complete(&mut self, kind: &str) -> Result<(), String> {
        let numbered = &self.template;
        for number in 0..numbered.count {
            let index = number.saturating_add(numbered.start).to_string();
            let fields = [
                ("Prefix", kind),
                ("Index", index.as_str()),
                ("Domain", self.domain.as_str()),
            ];
            let name = or(&numbered.hostname, "{{.Prefix}}{{.Index}}");
            self.specs.push(Node {
                hostname: template::render(name, &fields)?,
                hosts: numbered.hosts.clone(),
                public_key_algorithm: numbered.public_key_algorithm.clone(),
                ..Node::default()
            });
        }
        for node in &mut self.specs {
            node.complete(&self.domain)?;
        }
        if self.ca.hostname.is_empty() {
            "ca".clone_into(&mut self.ca.hostname);
        }
        self.ca.complete(&self.domain)
    }
}

impl Node {
    fn complete(&mut self, domain: &str) -> Result<(), String> {
        let name = or(&self.common_name, "{{.Hostname}}.{{.Domain}}");
        let fields = [
            ("Hostname", self.hostname.as_str()),
            ("Domain", domain),
            ("CommonName", ""),
        ];
        let name = template::render(name, &fields)?;
        let fields = [fields[0], fields[1], ("CommonName", name.as_str())];
        let mut hosts = vec![name.clone(), self.hostname.clone()];
        for host in &self.hosts {
            hosts.push(template::render(host, &fields)?);
        }
        self.hosts = hosts;
        self.common_name = name;
        if self.public_key_algorithm.is_empty() {
            ECDSA.clone_into(&mut self.public_key_algorithm);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(yaml: &str) -> Organization {
        crate::config::keys_of(yaml).unwrap()
    }

    #[test]
    fn nodes_are_named_by_templates_and_by_name() {
        let mut org = organization(
            "
Name: Org1
Domain: org1.example.com
Template:
  Count: 2
  Start: 5
  SANS: ['{{.Hostname}}.alt.{{.Domain}}', 127.0.0.1]
Specs:
  - Hostname: foo
    CommonName: foo27.example.org
    PublicKeyAlgorithm: ed25519
Users: {Count: 1}
",
        );
        org.complete("peer").unwrap();
        let names: Vec<_> = org
            .specs
            .iter()
            .map(|node| node.common_name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "foo27.example.org",
                "peer5.org1.example.com",
                "peer6.org1.example.com"
            ]
        );
        assert_eq!(org.specs[0].hosts, ["foo27.example.org", "foo"]);
        assert_eq!(
            org.specs[1].hosts,
            [
                "peer5.org1.example.com",
                "peer5",
                "peer5.alt.org1.example.com",
                "127.0.0.1"
            ]
        );
        assert_eq!(org.specs[0].public_key_algorithm, "ed25519");
        assert_eq!(org.ca.common_name, "ca.org1.example.com");
        assert_eq!((org.users.count, org.users.algorithm()), (1, "ecdsa"));
    }

    #[test]
    fn a_template_that_names_an_unknown_field_is_refused() {
        let mut org =
            organization("{Domain: example.com, Template: {Count: 1, Hostname: '{{.Hostname}}'}}");
        let refused = org.complete("peer").unwrap_err();
        assert!(refused.contains("Hostname"), "{refused}");
    }
}
