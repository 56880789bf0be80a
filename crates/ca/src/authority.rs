//! The root: the authority's key and certificate, made at its first start, and signing with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consilium_msp::Certificate;
use x509_cert::name::Name;

use crate::certificate::{Host, Issuer, Template, Usage, assemble, key_id, to_be_signed};
use crate::crl::{CrlTemplate, crl_to_be_signed};
use crate::files::{self, Access};
use crate::keys::{KeyError, SigningKey};
use crate::options::{CaOptions, RootOptions};

/// Certificates begin this long before they are made, for clocks that go wrong.
const BACKDATE: i64 = 5 * 60;

/// Why an authority cannot open its root or issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file cannot be read or written; the message names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The key cannot be used.
    #[error("{path}: {source}")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// The root certificate cannot be used.
    #[error("{path}: {reason}")]
    Root {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("the certificate cannot be made: {0}")]
    Issue(String),
}

impl From<der::Error> for AuthorityError {
    fn from(error: der::Error) -> Self {
        Self::Issue(error.to_string())
    }
}

impl From<KeyError> for AuthorityError {
    fn from(error: KeyError) -> Self {
        Self::Issue(error.to_string())
    }
}

/// A certificate as it was issued.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub pem: String,
    /// Lower-case hex without leading zeros, as Fabric CA stores it.
    pub serial: String,
    pub not_after: i64,
}

/// What the requester and the profile decide about a certificate.
pub(crate) struct Order {
    pub subject: Name,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    pub usage: Usage,
    pub hosts: Vec<Host>,
    pub attributes: Option<Vec<u8>>,
    /// Seconds from now.
    pub validity: i64,
    /// Unix seconds; the usual backdating if absent.
    pub not_before: Option<i64>,
}

/// An authority's certificate and the key that signs with it.
pub(crate) struct Authority {
    key: SigningKey,
    /// Roots that this authority had before: what they issued may still ask for a successor.
    former: Vec<Arc<Certificate>>,
    root: Arc<Certificate>,
    root_pem: String,
    chain_pem: String,
    issuer: Issuer,
}

impl Authority {
    /// Opens the authority's certificate and key (`msp/keystore/<ski>_sk` or the file that the
    /// options name); where there is no certificate, makes one that signs itself.
    pub fn open(options: &CaOptions) -> Result<Self, AuthorityError> {
        let path = options.path(&options.certificate_file);
        if !path.exists() {
            create_root(options, &path)?;
        }
        let pem = files::read(&path)?;
        let refused = |reason: String| AuthorityError::Root {
            path: path.clone(),
            reason,
        };
        let root = Certificate::from_pem(&pem).map_err(|error| refused(error.to_string()))?;
        if !root.is_ca() {
            return Err(refused(
                "not a certificate of a certificate authority".into(),
            ));
        }
        if root.not_after() < now() {
            return Err(refused("the root certificate has expired".into()));
        }
        let own_key_id = root
            .subject_key_id()
            .ok_or_else(|| refused("the root certificate has no subject key identifier".into()))?
            .to_vec();
        let key = open_key(options, &root, &own_key_id)?;
        Ok(Self {
            key,
            former: former_roots(&options.home)?,
            issuer: Issuer {
                name: root.subject_der().to_vec(),
                key_id: own_key_id,
            },
            chain_pem: chain(options, &root)?,
            root_pem: root.pem(),
            root,
        })
    }

    pub fn root(&self) -> &Arc<Certificate> {
        &self.root
    }

    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// How many authorities may follow below, if that is limited.
    pub fn path_length(&self) -> Option<u8> {
        use x509_parser::prelude::{FromDer as _, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(self.root.der()).ok()?;
        let constraints = parsed.basic_constraints().ok()??;
        let length = constraints.value.path_len_constraint?;
        Some(u8::try_from(length).unwrap_or(u8::MAX))
    }

    /// Whether the certificate may be used to sign lists of revoked ones.
    pub fn may_sign_crls(&self) -> bool {
        use x509_parser::prelude::{FromDer as _, X509Certificate};
        X509Certificate::from_der(self.root.der()).is_ok_and(|(_, parsed)| {
            let usage = parsed.key_usage().ok().flatten();
            usage.is_some_and(|usage| usage.value.crl_sign())
        })
    }

    /// The certificate and those above it.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The authority key identifier of what it issues, as Fabric CA stores it.
    pub fn key_id_hex(&self) -> String {
        trimmed_hex(&self.issuer.key_id)
    }

    /// Signs the list of revoked certificates in `template`, and gives it as PEM.
    pub fn sign_crl(&self, template: &CrlTemplate) -> Result<String, AuthorityError> {
        let algorithm = self.key.signature_algorithm();
        let bytes = crl_to_be_signed(template, &self.issuer, &algorithm)?;
        let crl = assemble(&bytes, &algorithm, &self.key.sign(&bytes)?)?;
        pem("X509 CRL", &crl)
    }

    /// The root that issued a certificate, the present one or a former one: its key identifier as Fabric CA
    /// stores it.
    pub fn issuer_of(&self, certificate: &Certificate) -> Option<String> {
        let mut roots = std::iter::once(&self.root).chain(&self.former);
        let issuer = roots.find(|root| certificate.is_signed_by(root))?;
        Some(trimmed_hex(issuer.subject_key_id()?))
    }

    /// Signs a certificate. It never outlives the root.
    pub fn issue(&self, order: Order) -> Result<Issued, AuthorityError> {
        let now = now();
        let serial = random_serial()?;
        let not_before = order.not_before.unwrap_or(now - BACKDATE);
        let not_after = now
            .saturating_add(order.validity)
            .min(self.root.not_after());
        let template = Template {
            subject: order.subject,
            public_key: order.public_key,
            serial: serial.to_vec(),
            not_before: not_before.max(self.root.not_before()),
            not_after,
            usage: order.usage,
            hosts: order.hosts,
            attributes: order.attributes,
        };
        let pem = sign(&self.key, &template, Some(&self.issuer))?;
        Ok(Issued {
            pem,
            serial: trimmed_hex(&serial),
            not_after,
        })
    }
}

/// Where an authority keeps the roots that it had before.
const FORMER: &str = "former-roots";

/// Gives the authority in `home`, which must not run, a new root certificate over a new key. The one so far
/// is kept in `former-roots`: whoever has a certificate of it may still enroll again, and gets one of the new
/// root. The authority's own TLS certificate is made anew at its next start.
///
/// # Errors
/// If there is no root yet, or files cannot be written.
pub fn rotate_root(options: &CaOptions) -> Result<(), AuthorityError> {
    let (home, path) = (&options.home, options.path(&options.certificate_file));
    let pem = files::read(&path)?;
    let refused = |reason: String| AuthorityError::Root {
        path: path.clone(),
        reason,
    };
    let present = Certificate::from_pem(&pem).map_err(|error| refused(error.to_string()))?;
    if !present.is_signed_by(&present) {
        return Err(refused(
            "it is below another authority, which certifies its successor".into(),
        ));
    }
    let name = format!(
        "{FORMER}/{}-{}.pem",
        present.not_before(),
        present.serial_hex()
    );
    files::write(&home.join(name), &pem, Access::Public)?;
    create_root(options, &path)?;
    match std::fs::remove_file(home.join("tls-cert.pem")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn former_roots(home: &Path) -> Result<Vec<Arc<Certificate>>, AuthorityError> {
    let Ok(entries) = std::fs::read_dir(home.join(FORMER)) else {
        return Ok(Vec::new());
    };
    let read = entries.flatten().map(|entry| {
        let path = entry.path();
        let pem = files::read(&path)?;
        Certificate::from_pem(&pem).map_err(|error| AuthorityError::Root {
            path,
            reason: error.to_string(),
        })
    });
    read.collect()
}

/// The certificates from the chain file, if there is one, else the authority's own.
fn chain(options: &CaOptions, own: &Certificate) -> Result<String, AuthorityError> {
    let path = options.path(&options.chain_file);
    if !path.is_file() {
        return Ok(own.pem());
    }
    let refused = |reason: String| AuthorityError::Root {
        path: path.clone(),
        reason,
    };
    let certificates = Certificate::all_from_pem(&files::read(&path)?)
        .map_err(|error| refused(error.to_string()))?;
    if certificates.iter().any(|one| !one.is_ca()) {
        return Err(refused(
            "A certificate in the CA chain is not a CA certificate".into(),
        ));
    }
    Ok(certificates.iter().map(|one| one.pem()).collect())
}

fn create_root(options: &CaOptions, path: &Path) -> Result<(), AuthorityError> {
    let RootOptions {
        subject,
        validity,
        path_length,
        key,
    } = &options.root;
    let (key, key_pem) = SigningKey::generate_for(*key)?;
    let now = now();
    let template = Template {
        subject: subject.to_name()?,
        serial: random_serial()?.to_vec(),
        not_before: now - BACKDATE,
        not_after: now.saturating_add(seconds(*validity)),
        usage: Usage::authority(*path_length),
        hosts: Vec::new(),
        attributes: None,
        public_key: key.public_key()?,
    };
    let pem = sign(&key, &template, None)?;
    // The key first: a certificate without its key would stop the next start.
    write_key(&options.home, &template.public_key, &key_pem)?;
    files::write(path, pem.as_bytes(), Access::Public)?;
    let common_name = &subject.common_name;
    tracing::info!(certificate = %path.display(), common_name, "made a new root certificate");
    Ok(())
}

/// Writes a key into the keystore of `home`.
pub(crate) fn write_key(
    home: &Path,
    public_key: &[u8],
    key_pem: &str,
) -> Result<(), AuthorityError> {
    let file = key_file(home, &key_id(public_key)?);
    Ok(files::write(&file, key_pem.as_bytes(), Access::Secret)?)
}

pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn sign(
    key: &SigningKey,
    template: &Template,
    issuer: Option<&Issuer>,
) -> Result<String, AuthorityError> {
    let algorithm = key.signature_algorithm();
    let bytes = to_be_signed(template, issuer, &algorithm)?;
    let certificate = assemble(&bytes, &algorithm, &key.sign(&bytes)?)?;
    pem("CERTIFICATE", &certificate)
}

fn pem(label: &str, contents: &[u8]) -> Result<String, AuthorityError> {
    der::pem::encode_string(label, der::pem::LineEnding::LF, contents)
        .map_err(|error| AuthorityError::Issue(error.to_string()))
}

fn key_file(home: &Path, key_id: &[u8]) -> PathBuf {
    home.join("msp/keystore")
        .join(format!("{}_sk", hex::encode(key_id)))
}

/// The root's key: by its identifier, or any file where it may be, since other tools put other
/// identifiers into certificates.
fn open_key(
    options: &CaOptions,
    root: &Certificate,
    root_key_id: &[u8],
) -> Result<SigningKey, AuthorityError> {
    let home = &options.home;
    let mut candidates = vec![key_file(home, root_key_id), options.path(&options.key_file)];
    if let Ok(entries) = std::fs::read_dir(home.join("msp/keystore")) {
        candidates.extend(entries.flatten().map(|entry| entry.path()));
    }
    let mut failure = None;
    for path in candidates {
        if !path.is_file() {
            continue;
        }
        match SigningKey::from_pem(&files::read(&path)?) {
            Ok(key) if public_key_fits(root, &key.public_key()?) => return Ok(key),
            Ok(_) => {}
            Err(source) => failure = Some(AuthorityError::Key { path, source }),
        }
    }
    Err(failure.unwrap_or_else(|| AuthorityError::Root {
        path: home.join("msp/keystore"),
        reason: "the root certificate is here, but its private key is not".into(),
    }))
}

/// 20 bytes, positive, never shorter.
fn random_serial() -> Result<[u8; 20], AuthorityError> {
    let mut serial = [0; 20];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| AuthorityError::Issue("the random source failed".into()))?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

fn trimmed_hex(bytes: &[u8]) -> String {
    hex::encode(bytes).trim_start_matches('0').to_owned()
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Whether `public` (SubjectPublicKeyInfo) is the key of `certificate`.
pub(crate) fn public_key_fits(certificate: &Certificate, public: &[u8]) -> bool {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    X509Certificate::from_der(certificate.der())
        .is_ok_and(|(_, parsed)| parsed.tbs_certificate.subject_pki.raw == public)
}
