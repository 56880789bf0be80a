//! The client's configuration, and the client that it makes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use clap::ArgMatches;
use consilium_ca::{
    Attribute, KeyKind, Subject,
    client::{AttributeRequest, CaClient, CaClientError},
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::attributes;
use crate::commands::fabric_ca::{Program, flags::Flag, log, settings::Settings};

/// Keys of `fabric-ca-client-config.yaml`. fabric-ca: lib/clientconfig.go
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    pub url: String,
    pub mspdir: PathBuf,
    pub tls: Tls,
    pub csr: Csr,
    pub id: Id,
    pub revoke: Revoke,
    pub enrollment: Enrollment,
    pub caname: String,
    myhost: String,
    // Read, so that Fabric's files are; mean nothing here.
    #[serde(rename = "debug")]
    _debug: Option<IgnoredAny>,
    #[serde(rename = "loglevel")]
    _loglevel: Option<IgnoredAny>,
    #[serde(rename = "home")]
    _home: Option<IgnoredAny>,
    #[serde(rename = "bccsp")]
    _bccsp: Option<IgnoredAny>,
    #[serde(rename = "idemix")]
    _idemix: Option<IgnoredAny>,
    #[serde(rename = "idemixcurveid")]
    _idemixcurveid: Option<IgnoredAny>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            url: "http://localhost:7054".into(),
            mspdir: "msp".into(),
            tls: Tls::default(),
            csr: Csr::default(),
            id: Id::default(),
            revoke: Revoke::default(),
            enrollment: Enrollment::default(),
            caname: String::new(),
            myhost: String::new(),
            _debug: None,
            _loglevel: None,
            _home: None,
            _bccsp: None,
            _idemix: None,
            _idemixcurveid: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tls {
    pub certfiles: Vec<PathBuf>,
    pub client: KeyPair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyPair {
    pub certfile: PathBuf,
    pub keyfile: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Csr {
    pub cn: String,
    pub hosts: Vec<String>,
    pub serialnumber: String,
    pub keyrequest: KeyRequest,
    names: Vec<Names>,
    #[serde(rename = "ca")]
    _ca: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyRequest {
    algo: String,
    size: u32,
    pub reusekey: bool,
}

impl KeyRequest {
    /// The kind of key that is asked for.
    pub fn kind(&self) -> Result<KeyKind> {
        KeyKind::named(&self.algo, self.size).context("csr.keyrequest")
    }
}

/// Parts of a name. fabric-ca: github.com/cloudflare/cfssl/csr
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
pub(crate) struct Names {
    c: String,
    st: String,
    l: String,
    o: String,
    ou: String,
    serialnumber: String,
}

/// The parts of a list of names, together.
pub(crate) fn subject(names: &[Names]) -> Subject {
    let all = |part: fn(&Names) -> &String| {
        let given = names.iter().map(part).filter(|text| !text.is_empty());
        given.cloned().collect::<Vec<_>>()
    };
    Subject {
        country: all(|it| &it.c),
        province: all(|it| &it.st),
        locality: all(|it| &it.l),
        organization: all(|it| &it.o),
        organizational_units: all(|it| &it.ou),
        serial_number: all(|it| &it.serialnumber).pop().unwrap_or_default(),
        common_name: String::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Id {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub secret: String,
    pub maxenrollments: i64,
    pub affiliation: String,
    attributes: Vec<IdAttribute>,
    attrs: Vec<String>,
}

impl Default for Id {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: "client".into(),
            secret: String::new(),
            maxenrollments: 0,
            affiliation: String::new(),
            attributes: Vec::new(),
            attrs: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IdAttribute {
    name: String,
    value: String,
    ecert: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Revoke {
    pub name: String,
    pub serial: String,
    pub aki: String,
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Enrollment {
    pub profile: String,
    #[serde(rename = "type")]
    pub kind: String,
    attrs: Vec<String>,
    #[serde(rename = "label")]
    _label: Option<IgnoredAny>,
}

/// A client as configured.
pub(super) struct Client {
    pub settings: Keys,
    /// Folder that relative paths are in.
    pub home: PathBuf,
    names: Option<Subject>,
}

impl Client {
    /// Reads the configuration for a command; the first one to enrol makes the file.
    pub(super) fn open(matches: &ArgMatches, flags: &[Flag], command: &str) -> Result<Self> {
        let given = Settings::new(Program::Client, matches, flags)?;
        let level = given.variable("loglevel").unwrap_or_default();
        if given.variable("debug").is_some_and(|it| it == "true") {
            ensure!(
                level.is_empty(),
                "Can't specify log level '{level}' and set debug to true at the same time"
            );
            log::set_level("debug");
        } else if !level.is_empty() {
            log::set_level(level);
        }
        let file = &given.file;
        if matches!(command, "enroll" | "gencsr") {
            if !file.is_file() {
                create(&given, command == "enroll")
                    .context("Failed to create default configuration file")?;
                log::info(format!(
                    "Created a default configuration file at {}",
                    file.display()
                ));
            }
        } else {
            log::info(format!("Configuration file location: {}", file.display()));
        }
        let (mut settings, unknown): (Keys, _) = given.read(given.content()?)?;
        if !unknown.is_empty() {
            log::write(
                log::Level::Warning,
                format!("keys that mean nothing here: {}", unknown.join(", ")),
            );
        }
        let names = match given.variable("csr.names") {
            // As a flag or a variable it is a list of another form than in the file.
            Some(list) if list.contains('=') => {
                let texts: Vec<String> = serde_json::from_str(list).unwrap_or_default();
                Some(attributes::names(texts.iter().map(String::as_str))?)
            }
            _ => None,
        };
        settings.csr.hosts.retain(|host| !host.is_empty());
        if settings.csr.hosts.is_empty() && !settings.myhost.is_empty() {
            settings.csr.hosts.push(settings.myhost.clone());
        }
        let client = Self {
            settings,
            home: given.home().to_owned(),
            names,
        };
        if !matches!(command, "enroll" | "getcainfo" | "gencsr") {
            client.check_enrollment()?;
        }
        Ok(client)
    }

    /// The folder for certificates and keys.
    pub(super) fn msp_dir(&self) -> PathBuf {
        self.home.join(&self.settings.mspdir)
    }

    /// The subject that a certificate is asked for.
    pub(super) fn subject(&self) -> Subject {
        let mut subject = match &self.names {
            Some(names) => names.clone(),
            None => subject(&self.settings.csr.names),
        };
        if !self.settings.csr.serialnumber.is_empty() {
            subject
                .serial_number
                .clone_from(&self.settings.csr.serialnumber);
        }
        subject
    }

    pub(super) fn registered_attributes(&self) -> Result<Vec<Attribute>> {
        let id = &self.settings.id;
        if !id.attrs.is_empty() {
            return attributes::attributes(id.attrs.iter().map(String::as_str));
        }
        let given = id.attributes.iter().map(|it| Attribute {
            name: it.name.clone(),
            value: it.value.clone(),
            ecert: it.ecert,
        });
        Ok(given.collect())
    }

    /// `None` for the attributes that the identity carries by default.
    pub(super) fn attribute_requests(&self) -> Result<Option<Vec<AttributeRequest>>> {
        let texts = &self.settings.enrollment.attrs;
        if texts.is_empty() {
            return Ok(None);
        }
        attributes::attribute_requests(texts.iter().map(String::as_str)).map(Some)
    }

    /// A connection to the server.
    pub(super) fn ca(&self) -> Result<CaClient> {
        connect(
            &self.settings.url,
            &self.home,
            &self.settings.tls,
            &self.settings.caname,
        )
    }
}

/// A client of the server at `url`, whose name and password, if it has them, are not used.
pub(crate) fn connect(url: &str, home: &Path, tls: &Tls, ca_name: &str) -> Result<CaClient> {
    let address = Address::parse(url)?;
    let read = |path: &Path| {
        let path = home.join(path);
        std::fs::read(&path).with_context(|| format!("Failed to read '{}'", path.display()))
    };
    let mut roots = Vec::new();
    let mut own = None;
    if address.url.starts_with("https://") {
        log::info("TLS Enabled");
        ensure!(
            !tls.certfiles.is_empty(),
            "Failed to get client TLS config: No trusted root certificates for TLS were provided"
        );
        for file in &tls.certfiles {
            let pem = read(file).context("Failed to get client TLS config")?;
            ensure!(
                pem.windows(11).any(|window| window == b"-----BEGIN "),
                "Failed to get client TLS config: Failed to process certificate from file {}",
                home.join(file).display()
            );
            roots.push(Bytes::from(pem));
        }
        if !tls.client.certfile.as_os_str().is_empty() {
            own = Some((read(&tls.client.certfile)?, read(&tls.client.keyfile)?));
        }
    }
    let own = own
        .as_ref()
        .map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    CaClient::with_certificate(&address.url, &roots, own, ca_name).map_err(told)
}

/// A server's URL, and who is to enrol there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `https://host:port`
    pub url: String,
    /// Host and port as they were given.
    pub host: String,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl Address {
    /// fabric-ca: lib.NormalizeURL, lib/clientconfig.go
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        ensure!(
            matches!(scheme, "http" | "https"),
            "invalid scheme: {scheme}"
        );
        let rest = rest.split('/').next().unwrap_or_default();
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((decoded(name)?, decoded(password)?)), host)
            }
            None => (None, rest),
        };
        ensure!(!host.is_empty(), "the URL '{text}' has no host");
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
        });
        let port = if has_port { "" } else { ":7054" };
        Ok(Self {
            url: format!("{scheme}://{host}{port}"),
            host: host.to_owned(),
            user,
        })
    }
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: Vec<u8> = rest.by_ref().take(2).collect();
        let decoded = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| digits.len() == 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.ok_or_else(|| anyhow!("invalid URL escape in '{text}'"))?);
    }
    Ok(String::from_utf8(bytes)?)
}

/// What failed, in the words of Fabric CA's client.
pub(crate) fn told(error: CaClientError) -> anyhow::Error {
    match error {
        CaClientError::Refused { code, message, .. } => {
            anyhow!("Response from server: Error Code: {code} - {message}\n")
        }
        other => other.into(),
    }
}

/// Writes the configuration that a first enrolment begins with.
fn create(settings: &Settings, needs_user: bool) -> Result<()> {
    let url = settings.variable("url").unwrap_or("http://localhost:7054");
    let address = Address::parse(url)?;
    let user = match (&address.user, needs_user) {
        (None, true) => {
            bail!("No username and password provided as part of the Fabric CA server URL")
        }
        (Some((name, _)), true) if name.is_empty() => bail!("No username provided as part of URL"),
        (Some((_, password)), true) if password.is_empty() => {
            bail!("No password provided as part of URL")
        }
        (Some((name, _)), true) => name.clone(),
        (_, false) => String::new(),
    };
    let scheme = address.url.split("://").next().unwrap_or("http");
    let host = match settings.variable("myhost") {
        Some(host) => host.to_owned(),
        None => host_name(),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let text = include_str!("template.yaml")
        .replace("{URL}", &format!("{scheme}://{}", address.host))
        .replace(
            "{MSPDIR}",
            &quoted(settings.variable("mspdir").unwrap_or("msp")),
        )
        .replace("{ENROLLMENT_ID}", &quoted(&user))
        .replace("{MYHOST}", &quoted(&host));
    std::fs::create_dir_all(settings.home()).with_context(|| {
        format!(
            "Failed to create directory at '{}'",
            settings.home().display()
        )
    })?;
    std::fs::write(&settings.file, text)?;
    Ok(())
}

/// This machine's name; `localhost` where it has none.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_user_and_a_port() {
        let user = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        for (text, url, host, expected) in [
            ("http://a:b@h:1", "http://h:1", "h:1", user("a", "b")),
            ("https://a:p%40s@h", "https://h:7054", "h", user("a", "p@s")),
            ("h", "http://h:7054", "h", None),
            ("h:7055", "http://h:7055", "h:7055", None),
            (
                "https://[::1]:7054/",
                "https://[::1]:7054",
                "[::1]:7054",
                None,
            ),
        ] {
            let address = Address::parse(text).unwrap();
            let expected = Address {
                url: url.into(),
                host: host.into(),
                user: expected,
            };
            assert_eq!(address, expected, "{text}");
        }
        for text in ["ftp://h", "http://", "http://a:%4@h"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_configuration_can_be_read() {
        let text = include_str!("template.yaml")
            .replace("{URL}", "http://h:1")
            .replace("{MSPDIR}", "\"msp\"")
            .replace("{ENROLLMENT_ID}", "\"a\"")
            .replace("{MYHOST}", "\"here\"");
        let content: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let none = std::collections::BTreeMap::new();
        let (keys, unknown): (Keys, _) =
            crate::config::read_content("FABRIC_CA_CLIENT", content, &none).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(
            (keys.url.as_str(), keys.id.kind.as_str()),
            ("http://h:1", "client")
        );
        assert_eq!(keys.csr.hosts, ["here"]);
        assert_eq!(subject(&keys.csr.names).organization, ["Hyperledger"]);
    }
}
