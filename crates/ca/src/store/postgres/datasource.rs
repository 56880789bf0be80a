//! `db.datasource` and `db.tls` of Fabric CA, in the forms that its driver reads: libpq's
//! `key=value` pairs, or an address (PostgreSQL documentation, 34.1.1; github.com/lib/pq).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::files;
use crate::server::CaError;

/// For one address of the server, unless `connect_timeout` says otherwise.
const CONNECT: Duration = Duration::from_secs(5);

/// How to reach a register in PostgreSQL.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) config: Box<Config>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    name: String,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of logs.
        f.debug_struct("PostgresOptions")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// `db.tls`: files in PEM, relative to the authority's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseTls {
    /// Whether the connection must be encrypted.
    pub enabled: bool,
    /// Roots that the database's certificate must chain to.
    pub roots: Vec<PathBuf>,
    /// A certificate to show to the database; with its key.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

impl PostgresOptions {
    /// From `host=… port=… user=… password=… dbname=… sslmode=…` or `postgres://…`. `sslmode` is
    /// `disable`, or `require`, `verify-ca` or `verify-full`, which all three check the server's
    /// certificate and its name.
    ///
    /// # Errors
    /// The text cannot be read, names no database, or says nothing certain about TLS; a file cannot
    /// be read.
    pub fn new(datasource: &str, home: &Path, tls: &DatabaseTls) -> Result<Self, CaError> {
        let refused = |reason| CaError::Option {
            option: "db.datasource",
            reason,
        };
        let Parsed { mut config, ssl } = parse(datasource).map_err(refused)?;
        let files = ssl.files(tls).map_err(refused)?;
        config.ssl_mode(match files {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        let tls = files.map(|files| files.read(home)).transpose()?;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or_default();
        Ok(Self {
            name: format!("postgres://{host}:{port}/{database}"),
            tls: tls.map(Arc::new),
            config: Box::new(config),
        })
    }

    /// The same server, and a database whose name ends in `_` and this: for one of several
    /// authorities of a server, as Fabric CA names it.
    pub fn for_authority(mut self, suffix: &str) -> Self {
        let database = format!("{}_{suffix}", self.config.get_dbname().unwrap_or_default());
        if let Some((server, _)) = self.name.rsplit_once('/') {
            self.name = format!("{server}/{database}");
        }
        self.config.dbname(database);
        self
    }

    /// Server and database, without user and password.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A datasource, and what the driver does not read of it.
struct Parsed {
    config: Config,
    ssl: Ssl,
}

/// The keys about TLS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ssl {
    mode: Option<String>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Ssl {
    /// Takes a pair if it is one of these.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => self.root = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            _ => return false,
        }
        true
    }

    /// The files for TLS, or `None` for a connection without it.
    fn files(self, tls: &DatabaseTls) -> Result<Option<Files>, String> {
        let mode = self.mode.as_deref();
        match mode {
            Some("disable") if tls.enabled => {
                return Err(
                    "sslmode=disable, but db.tls.enabled is true; set one or the other".into(),
                );
            }
            Some("disable") => return Ok(None),
            None | Some("require" | "verify-ca" | "verify-full") => {}
            Some(other) => {
                return Err(format!(
                    "sslmode={other} is not supported; use disable, require, verify-ca or \
                     verify-full"
                ));
            }
        }
        let given = |file: &PathBuf| !file.as_os_str().is_empty();
        let configured = tls.enabled.then_some(tls);
        let mut roots: Vec<PathBuf> = self.root.into_iter().collect();
        roots.extend(configured.iter().flat_map(|tls| tls.roots.clone()));
        roots.retain(given);
        if roots.is_empty() {
            let mode = mode.unwrap_or("require, which is meant where it is not set,");
            return Err(format!(
                "sslmode {mode} needs roots to check the database's certificate with: set \
                 db.tls.enabled and db.tls.certfiles, or sslmode=disable for a connection that is \
                 protected otherwise"
            ));
        }
        let of_tls =
            |pick: fn(&DatabaseTls) -> &PathBuf| configured.map(pick).filter(|it| given(it));
        let certificate = self.certificate.or(of_tls(|tls| &tls.certificate).cloned());
        let key = self.key.or(of_tls(|tls| &tls.key).cloned());
        let own = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => {
                return Err("a certificate for the database needs its key: set both \
                     db.tls.client.certfile and db.tls.client.keyfile"
                    .into());
            }
        };
        Ok(Some(Files { roots, own }))
    }
}

/// Files for TLS.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    roots: Vec<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
}

impl Files {
    fn read(&self, home: &Path) -> Result<ClientConfig, CaError> {
        let refused = |file: &Path, reason: String| CaError::Option {
            option: "db.tls",
            reason: format!("{}: {reason}", home.join(file).display()),
        };
        let content = |file: &Path| {
            files::read(&home.join(file)).map_err(crate::authority::AuthorityError::from)
        };
        let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, CaError> {
            let read =
                CertificateDer::pem_slice_iter(&content(file)?).collect::<Result<Vec<_>, _>>();
            let read = read.map_err(|error| refused(file, error.to_string()))?;
            match read.is_empty() {
                true => Err(refused(file, "no certificate in PEM".into())),
                false => Ok(read),
            }
        };
        let mut roots = RootCertStore::empty();
        for file in &self.roots {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| refused(file, error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(Path::new(""), error.to_string()))?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(&content(key)?)
            .map_err(|error| refused(key, error.to_string()))?;
        builder
            .with_client_auth_cert(chain, secret)
            .map_err(|error| refused(certificate, error.to_string()))
    }
}

fn parse(text: &str) -> Result<Parsed, String> {
    let mut ssl = Ssl::default();
    let text = text.trim();
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        address(text, &mut ssl)
    } else {
        let mut rest = String::new();
        for (key, value) in pairs(text)? {
            if !ssl.take(&key, &value) {
                let value = value.replace('\\', "\\\\").replace('\'', "\\'");
                rest.push_str(&format!("{key}='{value}' "));
            }
        }
        rest
    };
    let mut config: Config = rest
        .parse()
        .map_err(|error: tokio_postgres::Error| consilium_transport::causes(&error))?;
    if config.get_dbname().is_none_or(str::is_empty) {
        return Err("it names no database; add dbname=fabric_ca".into());
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host("localhost");
    }
    if config.get_application_name().is_none() {
        config.application_name("consilium");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    Ok(Parsed { config, ssl })
}

/// An address without those of its parameters that are about TLS.
fn address(text: &str, ssl: &mut Ssl) -> String {
    let Some((address, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let kept = query.split('&').filter(|pair| {
        let decoded = reqwest::Url::parse(&format!("http://host/?{pair}"));
        let taken = decoded.is_ok_and(|url| {
            let pair = url.query_pairs().next();
            pair.is_some_and(|(key, value)| ssl.take(&key, &value))
        });
        !taken && !pair.is_empty()
    });
    let kept = kept.collect::<Vec<_>>().join("&");
    match kept.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{kept}"),
    }
}

/// Keys and values. A value with spaces is in single quotes; a backslash takes the next character
/// as it is.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|it| it.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(next) = rest.next_if(|it| *it != '=' && !it.is_whitespace()) {
            key.push(next);
        }
        while rest.next_if(|it| it.is_whitespace()).is_some() {}
        let named = !key.is_empty() && key.chars().all(|it| it.is_ascii_lowercase() || it == '_');
        if rest.next_if_eq(&'=').is_none() || !named {
            // What stands there may be part of a password.
            let number = pairs.len() + 1;
            return Err(format!(
                "pair {number} is not of the form key=value; put values with spaces into single \
                 quotes"
            ));
        }
        while rest.next_if(|it| it.is_whitespace()).is_some() {}
        let quoted = rest.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match rest.next() {
                Some('\\') => value.extend(rest.next()),
                Some('\'') if quoted => break,
                Some(next) if quoted || !next.is_whitespace() => value.push(next),
                None if quoted => return Err(format!("the quote of {key} has no end")),
                _ => break,
            }
        }
        // The last one counts, where the driver would take several hosts.
        pairs.retain(|(earlier, _)| *earlier != key);
        pairs.push((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(roots: &[&str]) -> DatabaseTls {
        DatabaseTls {
            enabled: true,
            roots: roots.iter().map(Into::into).collect(),
            ..DatabaseTls::default()
        }
    }

    #[test]
    fn a_datasource_is_read_as_fabric_cas_driver_reads_it() {
        let cases = [
            "host=db.example port=6432 user=ca password=a'b\\c dbname=fabric_ca sslmode=disable",
            "host=other host = db.example  port=6432\tuser='ca' password='a\\'bc' dbname=fabric_ca sslmode=disable",
            "postgres://ca:a'bc@db.example:6432/fabric_ca?sslmode=disable",
            "postgresql://ca:a%27bc@db.example:6432/fabric_ca?sslmode=disable&connect_timeout=5",
        ];
        for text in cases {
            let options = PostgresOptions::new(text, Path::new("/x"), &DatabaseTls::default());
            let options = options.unwrap();
            assert_eq!(options.name(), "postgres://db.example:6432/fabric_ca");
            let config = &options.config;
            assert_eq!(config.get_user(), Some("ca"), "{text}");
            assert_eq!(config.get_password(), Some(b"a'bc".as_slice()), "{text}");
            assert_eq!(config.get_ssl_mode(), SslMode::Disable);
            assert_eq!(config.get_connect_timeout(), Some(&CONNECT));
            assert!(!format!("{options:?}").contains("a'bc"));
            let second = options.for_authority("ca2");
            assert_eq!(second.name(), "postgres://db.example:6432/fabric_ca_ca2");
            assert_eq!(second.config.get_dbname(), Some("fabric_ca_ca2"));
        }
        let short = parse("dbname=ca").unwrap();
        assert_eq!(short.config.get_hosts(), [Host::Tcp("localhost".into())]);
    }

    #[test]
    fn a_datasource_that_cannot_be_used_is_refused_without_its_password() {
        let cases = [
            ("host=h password=secret", "names no database"),
            ("", "names no database"),
            ("fabric-ca-server.db", "pair 1"),
            ("host=h password=a secret dbname=x", "pair 3"),
            ("dbname=x password='secret", "no end"),
            ("dbname=x password=secret port=many sslmode=disable", "port"),
            (
                "dbname=x password=secret nonsense=1 sslmode=disable",
                "nonsense",
            ),
            ("dbname=x password=secret sslmode=prefer", "sslmode=prefer"),
            ("dbname=x password=secret", "db.tls.certfiles"),
            (
                "dbname=x password=secret sslmode=verify-full",
                "db.tls.certfiles",
            ),
            (
                "dbname=x password=secret sslrootcert=r sslcert=c",
                "keyfile",
            ),
        ];
        for (text, expected) in cases {
            let refused = PostgresOptions::new(text, Path::new("/x"), &DatabaseTls::default());
            let message = refused.unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret"), "{text}: {message}");
        }
        let refused =
            PostgresOptions::new("dbname=x sslmode=disable", Path::new("/x"), &tls(&["r"]));
        assert!(refused.unwrap_err().to_string().contains("db.tls.enabled"));
        let missing = PostgresOptions::new("dbname=x", Path::new("/nowhere"), &tls(&["root.pem"]));
        let message = missing.unwrap_err().to_string();
        assert!(message.contains("/nowhere/root.pem"), "{message}");
    }

    #[test]
    fn files_for_tls_come_from_either_place() {
        let files = |text: &str, tls: &DatabaseTls| parse(text).unwrap().ssl.files(tls).unwrap();
        let (root, own) = (PathBuf::from("r"), (PathBuf::from("c"), PathBuf::from("k")));
        let expected = Some(Files {
            roots: vec![root],
            own: Some(own),
        });
        let text = "dbname=x sslmode=verify-full sslrootcert=r sslcert=c sslkey=k";
        assert_eq!(files(text, &DatabaseTls::default()), expected);
        let text = "postgres://h/x?sslmode=verify-ca&sslrootcert=r&sslcert=c&sslkey=k";
        assert_eq!(files(text, &DatabaseTls::default()), expected);
        let configured = DatabaseTls {
            certificate: "c".into(),
            key: "k".into(),
            ..tls(&["", "r"])
        };
        for text in ["dbname=x", "dbname=x sslmode=require"] {
            assert_eq!(files(text, &configured), expected, "{text}");
        }
        assert_eq!(
            files("dbname=x sslmode=disable", &DatabaseTls::default()),
            None
        );
    }
}
