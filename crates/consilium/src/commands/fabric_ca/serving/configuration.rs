//! A server's configuration, and what it makes of its authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use consilium_ca::{
    Attribute, CaOptions, CaServer, DatabaseOptions, DatabaseTls, InitialIdentity, PostgresOptions,
    Profile, Profiles, RootOptions,
};
use consilium_transport::{ClientAuth, ServerTls, TlsIdentity};
use serde_json::Value;

use super::keys::{CaKeys, Db, ProfileKeys, ServerKeys};
use crate::commands::fabric_ca::{
    asking::{host_name, subject},
    settings::{Settings, fill},
};
use crate::config::MetricsProvider;
use crate::operations;

/// A server and its authorities.
pub(super) struct Configuration {
    keys: ServerKeys,
    home: PathBuf,
    /// The first is the one that answers requests without a name.
    pub authorities: Vec<AuthorityConfiguration>,
    /// Whether tokens of clients before 1.4 count.
    pub legacy_tokens: bool,
}

/// One authority.
pub(super) struct AuthorityConfiguration {
    pub keys: CaKeys,
    /// The folder of its configuration.
    pub home: PathBuf,
    /// Whether its database is named in the server's own configuration, and not in its.
    pub shares_datasource: bool,
}

impl Configuration {
    /// Reads the server's file, and those of more authorities.
    pub fn read(settings: &Settings) -> Result<Self> {
        let content = settings.content()?;
        let (keys, unknown): (ServerKeys, _) = settings.read(content.clone())?;
        let (default, unknown_too): (CaKeys, _) = settings.read(content.clone())?;
        let unknown: Vec<_> = unknown
            .into_iter()
            .filter(|key| unknown_too.iter().any(|other| covers(other, key)))
            .collect();
        if !unknown.is_empty() {
            let keys = unknown.join(", ");
            tracing::warn!(keys, "keys that are not supported and mean nothing here");
        }
        if keys.cors.enabled {
            tracing::warn!(
                "cors.enabled is not supported: browsers of other origins are not let in"
            );
        }
        let home = settings.home().to_owned();
        ensure!(
            keys.cacount == 0 || keys.cafiles.is_empty(),
            "The --cacount and --cafiles options are mutually exclusive"
        );
        let has_parent = !default.intermediate.parentserver.url.is_empty();
        ensure!(
            keys.cacount == 0 || !has_parent,
            "The --cacount option is not permissible for an intermediate server; use the \
             --cafiles option instead"
        );
        let mut files: Vec<PathBuf> = keys.cafiles.iter().map(|file| home.join(file)).collect();
        for number in 1..=keys.cacount {
            files.push(create_authority(&home, number)?);
        }
        let mut authorities = vec![AuthorityConfiguration {
            keys: default,
            home: home.clone(),
            shares_datasource: false,
        }];
        for file in files {
            tracing::info!("Loading CA from {}", file.display());
            authorities.push(read_authority(settings, &content, &file)?);
        }
        let mode = settings.variable("compatibility_mode_v1_3");
        let legacy_tokens = match mode {
            None => false,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(_) => bail!(
                "Invalid value for boolean environment variable \
                 'FABRIC_CA_SERVER_COMPATIBILITY_MODE_V1_3'"
            ),
        };
        Ok(Self {
            keys,
            home,
            authorities,
            legacy_tokens,
        })
    }

    /// Where to listen.
    pub fn address(&self) -> String {
        let host = self.keys.address.as_deref().unwrap_or("0.0.0.0");
        format!("{host}:{}", self.keys.port.unwrap_or(7054))
    }

    /// TLS of the port, if it has it.
    pub fn tls(&self, server: &CaServer) -> Result<Option<Arc<ServerTls>>> {
        let tls = &self.keys.tls;
        if !tls.enabled {
            return Ok(None);
        }
        let auth = match tls.clientauth.kind.to_lowercase().as_str() {
            "" | "noclientcert" => ClientAuth::None,
            "requestclientcert" => ClientAuth::Request,
            "verifyclientcertifgiven" => ClientAuth::Verify,
            "requireandverifyclientcert" => ClientAuth::Require,
            "requireanyclientcert" => bail!(
                "tls.clientauth.type: RequireAnyClientCert is not supported, since it proves \
                 nothing; use RequireAndVerifyClientCert"
            ),
            _ => bail!("Invalid client auth type provided"),
        };
        let roots = self.read_all(&tls.clientauth.certfiles)?;
        let (certificate, key) = self.tls_files(server)?;
        let identity = TlsIdentity::from_pem(&read(&certificate)?, &read(&key)?)?;
        Ok(Some(ServerTls::new(identity, auth, &roots)?))
    }

    fn tls_files(&self, server: &CaServer) -> Result<(PathBuf, PathBuf)> {
        let tls = &self.keys.tls;
        let own = self.home.join("tls-cert.pem");
        let certificate = match &tls.certfile {
            Some(file) => self.home.join(file),
            None => own.clone(),
        };
        if let Some(key) = &tls.keyfile {
            let key = self.home.join(key);
            for (name, file) in [("keyfile", &key), ("certfile", &certificate)] {
                ensure!(
                    file.is_file(),
                    "File specified by 'tls.{name}' does not exist: {}",
                    file.display()
                );
            }
            return Ok((certificate, key));
        }
        let made_here = self.home.join("tls-key.pem").is_file();
        if certificate == own && (made_here || !own.is_file()) {
            let mut hosts: Vec<String> = match self.authorities.first() {
                Some(default) => default.keys.csr.hosts.clone(),
                None => Vec::new(),
            };
            hosts.retain(|host| !host.is_empty());
            if hosts.is_empty() {
                hosts.push(host_name());
            }
            return Ok(server.tls_files(&hosts)?);
        }
        ensure!(
            certificate.is_file(),
            "File specified by 'tls.certfile' does not exist: {}",
            certificate.display()
        );
        // The key of a certificate that another program made is in the keystore.
        let pem = read(&certificate)?;
        let keystore = self.home.join("msp/keystore");
        let entries = std::fs::read_dir(&keystore).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if let Ok(key) = std::fs::read(&path)
                && TlsIdentity::from_pem(&pem, &key).is_ok()
            {
                return Ok((certificate, path));
            }
        }
        bail!(
            "no key in {} belongs to {}; name one with tls.keyfile",
            keystore.display(),
            certificate.display()
        )
    }

    /// Address and TLS of the operations server, if there is one.
    pub fn operations(&self) -> Result<Option<(String, Option<Arc<ServerTls>>)>> {
        let operations = &self.keys.operations;
        if operations.listenaddress.is_empty() {
            return Ok(None);
        }
        if !operations.tls.enabled {
            return Ok(Some((operations.listenaddress.clone(), None)));
        }
        let file = |path: &Path| self.home.join(path);
        let certificate = read(&file(&operations.tls.cert.file))?;
        let key = read(&file(&operations.tls.key.file))?;
        let identity = TlsIdentity::from_pem(&certificate, &key)?;
        let roots = self.read_all(&operations.tls.client_root_cas.files)?;
        let required = operations.tls.client_auth_required;
        let tls = operations::server_tls(identity, required, &roots)?;
        Ok(Some((operations.listenaddress.clone(), Some(tls))))
    }

    /// Whether metrics are shown.
    pub fn metrics(&self) -> bool {
        self.keys.metrics.provider == MetricsProvider::Prometheus
    }

    fn read_all(&self, files: &[PathBuf]) -> Result<Vec<Bytes>> {
        let given = files.iter().filter(|file| !file.as_os_str().is_empty());
        given
            .map(|file| Ok(read(&self.home.join(file))?.into()))
            .collect()
    }
}

impl AuthorityConfiguration {
    /// How to open it.
    pub fn options(&self, legacy_tokens: bool) -> Result<CaOptions> {
        let keys = &self.keys;
        ensure!(
            !keys.ldap.enabled,
            "ldap.enabled: LDAP is not supported; identities are in the server's own database"
        );
        let mut options = CaOptions::new(&self.home, &keys.ca.name, "");
        let replace = |path: &mut PathBuf, given: &Option<PathBuf>| {
            if let Some(given) = given.as_ref().filter(|given| !given.as_os_str().is_empty()) {
                path.clone_from(given);
            }
        };
        replace(&mut options.certificate_file, &keys.ca.certfile);
        replace(&mut options.key_file, &keys.ca.keyfile);
        replace(&mut options.chain_file, &keys.ca.chainfile);
        options.database = self.database(options.database)?;
        let mut root = subject(&keys.csr.names);
        keys.csr.cn.clone_into(&mut root.common_name);
        if root.common_name.is_empty() {
            root.common_name = "fabric-ca-server".into();
        }
        if !keys.csr.serialnumber.is_empty() {
            root.serial_number.clone_from(&keys.csr.serialnumber);
        }
        options.root = RootOptions {
            subject: root,
            validity: duration("csr.ca.expiry", &keys.csr.ca.expiry)?
                .unwrap_or(RootOptions::default().validity),
            path_length: keys.csr.ca.pathlength,
            key: keys.csr.keyrequest.kind()?,
        };
        options.identities = keys
            .registry
            .identities
            .iter()
            .map(|identity| {
                Ok(InitialIdentity {
                    id: identity.name.clone(),
                    password: identity.pass.clone(),
                    kind: identity.kind.clone(),
                    affiliation: identity.affiliation.clone(),
                    max_enrollments: identity.maxenrollments,
                    attributes: identity
                        .attrs
                        .iter()
                        .map(|(name, value)| attribute(name, value))
                        .collect::<Result<_>>()?,
                })
            })
            .collect::<Result<_>>()?;
        options.affiliations = affiliations(&keys.affiliations)?;
        options.profiles = profiles(keys)?;
        options.max_enrollments = keys.registry.maxenrollments;
        options.password_attempts = keys.cfg.identities.passwordattempts;
        options.remove_identities = keys.cfg.identities.allowremove;
        options.remove_affiliations = keys.cfg.affiliations.allowremove;
        if let Some(validity) = duration("crl.expiry", &keys.crl.expiry)? {
            options.crl_validity = validity;
        }
        options.reenroll_ignores_expiry = keys.ca.reenrollignorecertexpiry;
        options.legacy_tokens = legacy_tokens;
        Ok(options)
    }

    /// Where the register is, if not where it usually is.
    fn database(&self, usual: DatabaseOptions) -> Result<DatabaseOptions> {
        let Db {
            kind,
            datasource,
            tls,
        } = &self.keys.db;
        match kind.to_lowercase().as_str() {
            "" | "sqlite3" => Ok(match datasource.as_str() {
                file if !file.is_empty() && !self.shares_datasource => {
                    DatabaseOptions::File(file.into())
                }
                _ => usual,
            }),
            "postgres" => {
                let tls = DatabaseTls {
                    enabled: tls.enabled,
                    roots: tls.certfiles.clone(),
                    certificate: tls.client.certfile.clone(),
                    key: tls.client.keyfile.clone(),
                };
                let options = PostgresOptions::new(datasource, &self.home, &tls)?;
                Ok(DatabaseOptions::Postgres(match self.shares_datasource {
                    false => options,
                    true => options.for_authority(&self.keys.ca.name),
                }))
            }
            _ => bail!("db.type: {kind} is not supported; use sqlite3 or postgres"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whether the key `other` is `key`, or one of the two is below the other.
fn covers(other: &str, key: &str) -> bool {
    let below = |above: &str, below: &str| {
        below
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    below(other, key) || below(key, other)
}

fn read_authority(
    settings: &Settings,
    default: &Value,
    file: &Path,
) -> Result<AuthorityConfiguration> {
    ensure!(file.is_file(), "{} file does not exist", file.display());
    let own: Value = crate::config::read(file)?;
    let (keys, _): (CaKeys, _) = crate::config::read_content(
        "FABRIC_CA_SERVER",
        own.clone(),
        &std::collections::BTreeMap::new(),
    )
    .with_context(|| format!("Incorrect format in file '{}'", file.display()))?;
    ensure!(
        !keys.ca.name.is_empty(),
        "No CA name provided in CA configuration file. CA name is required in {}",
        file.display()
    );
    let shares_datasource = keys.db.datasource.is_empty();
    let mut content = own.clone();
    fill(&mut content, default);
    let (keys, _): (CaKeys, _) = settings.read_beside(content, &own)?;
    Ok(AuthorityConfiguration {
        keys,
        shares_datasource,
        home: file.parent().unwrap_or(Path::new("/")).to_owned(),
    })
}

/// The configuration of one of `--cacount` authorities, made if it is not there.
fn create_authority(home: &Path, number: u32) -> Result<PathBuf> {
    let folder = home.join(format!("ca/ca{number}"));
    let file = folder.join("fabric-ca-config.yaml");
    if !file.is_file() {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let text = include_str!("ca_template.yaml")
            .replace("{CANAME}", &format!("ca{number}"))
            .replace("{COMMONNAME}", &format!("fabric-ca-server-ca{number}"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(file)
}

/// Writes the configuration that a first start begins with.
pub(super) fn create(settings: &Settings) -> Result<()> {
    let boot = settings.variable("boot").unwrap_or_default();
    ensure!(!boot.is_empty(), "The '-b user:pass' option is required");
    let Some((user, password)) = boot.split_once(':') else {
        bail!("The value '{boot}' on the command line is missing a colon separator");
    };
    ensure!(
        user.len() < 1024,
        "The identity name must be less than 1024 characters: '{user}'"
    );
    ensure!(
        !password.is_empty(),
        "An empty password in the '-b user:pass' option is not permitted"
    );
    let has_parent = settings.variable("intermediate.parentserver.url").is_some();
    let (common_name, path_length) = match has_parent {
        true => ("", "0"),
        false => ("fabric-ca-server", "1"),
    };
    let quoted = |text: &str| Value::from(text).to_string();
    let text = include_str!("template.yaml")
        .replace("{ADMIN}", &quoted(user))
        .replace("{ADMINPW}", &quoted(password))
        .replace("{COMMONNAME}", &quoted(common_name))
        .replace("{PATHLENGTH}", path_length)
        .replace("{MYHOST}", &quoted(&host_name()));
    std::fs::create_dir_all(settings.home())
        .with_context(|| format!("cannot make {}", settings.home().display()))?;
    // It holds a password.
    consilium_ca::folders::write_secret(&settings.file, text.as_bytes())?;
    Ok(())
}

/// A value of an attribute, with `:ecert` at its end for one that certificates carry by default.
fn attribute(name: &str, value: &Value) -> Result<Attribute> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        // As Fabric CA reads them.
        Value::Bool(true) => "1".into(),
        Value::Bool(false) => "0".into(),
        other => other.to_string(),
    };
    let (value, ecert) = match text.split(':').collect::<Vec<_>>()[..] {
        [value] => (value, false),
        [value, flag] if flag.eq_ignore_ascii_case("ecert") => (value, true),
        [value, ""] => (value, false),
        _ => bail!(
            "registry.identities: the attribute {name} has the value '{text}', where nothing but ':ecert' may follow a colon"
        ),
    };
    Ok(Attribute {
        name: name.to_owned(),
        value: value.to_owned(),
        ecert,
    })
}

/// Dotted affiliations of a tree. All parts but the last are in lower case, as Fabric CA's.
fn affiliations(tree: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    collect(tree, "", &mut found)?;
    Ok(found)
}

fn collect(tree: &Value, above: &str, found: &mut Vec<String>) -> Result<()> {
    let below = |name: &str| match above {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    };
    match tree {
        Value::Null => {}
        Value::String(name) => found.push(below(name)),
        Value::Number(name) => found.push(below(&name.to_string())),
        Value::Array(items) => {
            for item in items {
                collect(item, above, found)?;
            }
        }
        Value::Object(members) => {
            for (name, inner) in members {
                let name = below(&name.to_lowercase());
                found.push(name.clone());
                collect(inner, &name, found)?;
            }
        }
        Value::Bool(_) => {
            bail!("affiliations: {tree} is no name of an affiliation; put it in quotes")
        }
    }
    Ok(())
}

fn profiles(keys: &CaKeys) -> Result<Profiles> {
    let mut profiles = Profiles::default();
    if let Some(default) = &keys.signing.default {
        apply("default", default, &mut profiles.default)?;
    }
    for (name, given) in &keys.signing.profiles {
        let name = name.to_lowercase();
        let mut profile = match name.as_str() {
            "ca" => Profile::ca(),
            "tls" => Profile::tls(),
            _ => Profile::enrollment(),
        };
        apply(&name, given, &mut profile)?;
        profiles.named.insert(name, profile);
    }
    Ok(profiles)
}

fn apply(name: &str, given: &ProfileKeys, profile: &mut Profile) -> Result<()> {
    if let Some(usages) = &given.usage {
        profile.usages.clone_from(usages);
    }
    if let Some(validity) = duration(&format!("signing profile {name}: expiry"), &given.expiry)? {
        profile.validity = validity;
    }
    if given.caconstraint.isca {
        profile.authority = Some(given.caconstraint.maxpathlen);
    }
    Ok(())
}

fn duration(key: &str, text: &str) -> Result<Option<Duration>> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = humantime::parse_duration(text);
    read.map(Some)
        .with_context(|| format!("{key}: `{text}` is not a duration such as 24h"))
}

#[cfg(test)]
mod tests {
    use consilium_ca::KeyKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_configuration_can_be_read_and_means_fabric_cas_defaults() {
        let text = include_str!("template.yaml")
            .replace("{ADMIN}", "\"admin\"")
            .replace("{ADMINPW}", "\"a:b\"")
            .replace("{COMMONNAME}", "\"fabric-ca-server\"")
            .replace("{PATHLENGTH}", "1")
            .replace("{MYHOST}", "\"here\"");
        let content: Value = serde_saphyr::from_str(&text).unwrap();
        let none = std::collections::BTreeMap::new();
        let prefix = "FABRIC_CA_SERVER";
        let (_, unknown): (ServerKeys, _) =
            crate::config::read_content(prefix, content.clone(), &none).unwrap();
        let (keys, unknown_too): (CaKeys, _) =
            crate::config::read_content(prefix, content, &none).unwrap();
        let unknown: Vec<_> = unknown
            .iter()
            .filter(|key| unknown_too.iter().any(|other| covers(other, key)))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let authority = AuthorityConfiguration {
            keys,
            home: "/x".into(),
            shares_datasource: false,
        };
        let options = authority.options(false).unwrap();
        assert_eq!(options.profiles.default, Profile::enrollment());
        assert_eq!(options.profiles.named["ca"], Profile::ca());
        assert_eq!(options.profiles.named["tls"], Profile::tls());
        assert_eq!(options.root.path_length, Some(1));
        assert_eq!(options.identities[0].password, "a:b");
        assert_eq!(options.identities[0].attributes.len(), 7);
        assert_eq!(options.max_enrollments, -1);
        let expected = [
            "org1",
            "org1.department1",
            "org1.department2",
            "org2",
            "org2.department1",
        ];
        assert_eq!(options.affiliations, expected);
    }

    #[test]
    fn affiliations_are_a_tree_of_names() {
        let tree = json!({"Org1": ["Dept1", {"X": null}], "b": "C", "d": null});
        let expected = ["org1", "org1.Dept1", "org1.x", "b", "b.C", "d"];
        assert_eq!(affiliations(&tree).unwrap(), expected);
        assert!(affiliations(&json!([true])).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (content, expected) in [
            (json!({"ldap": {"enabled": true}}), "ldap.enabled"),
            (json!({"db": {"type": "mysql"}}), "db.type"),
            (json!({"db": {"type": "postgres"}}), "db.datasource"),
            (
                json!({"db": {"type": "postgres", "datasource": "dbname=a", "tls": {"enabled": true}}}),
                "db.tls.certfiles",
            ),
            (
                json!({"csr": {"keyrequest": {"algo": "rsa", "size": 1024}}}),
                "csr.keyrequest",
            ),
            (json!({"crl": {"expiry": "soon"}}), "crl.expiry"),
            (
                json!({"registry": {"identities": [{"name": "a", "attrs": {"x": "a:b"}}]}}),
                "x",
            ),
        ] {
            let none = std::collections::BTreeMap::new();
            let (keys, _): (CaKeys, _) =
                crate::config::read_content("FABRIC_CA_SERVER", content, &none).unwrap();
            let authority = AuthorityConfiguration {
                keys,
                home: "/x".into(),
                shares_datasource: false,
            };
            let error = format!("{:#}", authority.options(false).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn databases_and_keys_are_as_configured() {
        let options = |content: Value, shares_datasource| {
            let none = std::collections::BTreeMap::new();
            let (keys, unknown): (CaKeys, _) =
                crate::config::read_content("FABRIC_CA_SERVER", content, &none).unwrap();
            assert!(unknown.is_empty(), "{unknown:?}");
            let home = "/x".into();
            let authority = AuthorityConfiguration {
                keys,
                home,
                shares_datasource,
            };
            authority.options(false).unwrap()
        };
        let database = |content: Value, shares| match options(content, shares).database {
            DatabaseOptions::File(file) => file.display().to_string(),
            DatabaseOptions::Postgres(options) => options.name().to_owned(),
        };
        assert_eq!(database(json!({}), false), "fabric-ca-server.db");
        let file =
            json!({"db": {"type": "sqlite3", "datasource": "a.db", "tls": {"enabled": false}}});
        assert_eq!(database(file.clone(), false), "a.db");
        // An authority beside the server's own has its file in its own folder.
        assert_eq!(database(file, true), "fabric-ca-server.db");
        let postgres = json!({"ca": {"name": "ca1"}, "db": {
            "type": "postgres",
            "datasource": "host=h port=5433 user=u password=p dbname=ca sslmode=disable",
            "tls": {"enabled": false, "certfiles": [], "client": {"certfile": "", "keyfile": ""}},
        }});
        let expected = "postgres://h:5433/ca";
        assert_eq!(database(postgres.clone(), false), expected);
        assert_eq!(database(postgres, true), format!("{expected}_ca1"));
        let key = |content| options(content, false).root.key;
        assert_eq!(key(json!({})), KeyKind::EcdsaP256);
        let request = json!({"csr": {"keyrequest": {"algo": "ecdsa", "size": 384}}});
        assert_eq!(key(request), KeyKind::EcdsaP384);
    }
}
