//! The certificate authority's database: who may enrol, and what was issued.
//!
//! Tables and columns are those of Fabric CA's SQLite file, so that an existing
//! `fabric-ca-server.db` keeps working and its tools can read ours
//! (fabric-ca: `lib/server/db/sqlite`).

mod affiliations;
mod certificates;
mod identities;

use std::path::Path;
use std::sync::LazyLock;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

pub(crate) use affiliations::{Affiliated, above};
pub(crate) use certificates::{CertificateFilter, Times};
pub(crate) use identities::IdentityFilter;

/// Fabric CA hashes passwords with this bcrypt cost.
const BCRYPT_COST: u32 = 10;

/// Compared when the identity is unknown, so that the answer takes as long as for a known one.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| bcrypt::hash("nobody", BCRYPT_COST).unwrap_or_default());

/// What the database refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("certificate authority database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the password cannot be hashed: {0}")]
    Password(#[from] bcrypt::BcryptError),
    #[error("the identity's attributes cannot be read: {0}")]
    Attributes(#[from] serde_json::Error),
}

/// A named value of an identity. With `ecert` it enters certificates without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Name; the prefix `hf.` is reserved.
    pub name: String,
    /// Value, possibly empty.
    #[serde(default)]
    pub value: String,
    /// Whether enrolment certificates carry it by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ecert: bool,
}

/// A registered identity.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub id: String,
    pub kind: String,
    pub affiliation: String,
    pub attributes: Vec<Attribute>,
    /// Enrolments so far; -1 when revoked.
    pub state: i64,
    /// -1 without limit.
    pub max_enrollments: i64,
    pub incorrect_password_attempts: i64,
    password_hash: String,
}

impl Identity {
    #[cfg(test)]
    pub fn with_attributes(id: &str, affiliation: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| Attribute {
            name: (*name).into(),
            value: (*value).into(),
            ecert: false,
        });
        Self {
            id: id.into(),
            kind: "client".into(),
            affiliation: affiliation.into(),
            attributes: attributes.collect(),
            state: 0,
            max_enrollments: -1,
            incorrect_password_attempts: 0,
            password_hash: String::new(),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.as_str())
    }

    /// Takes tens of milliseconds of a core, by design.
    pub fn password_fits(&self, password: &str) -> bool {
        bcrypt::verify(password, &self.password_hash).unwrap_or(false)
    }
}

/// Spends the time of a password comparison.
pub(crate) fn compare_with_nobody(password: &str) {
    let _ = bcrypt::verify(password, &NOBODY);
}

/// An identity to be.
#[derive(Debug, Clone)]
pub(crate) struct NewIdentity<'a> {
    pub id: &'a str,
    pub password: &'a str,
    pub kind: &'a str,
    pub affiliation: &'a str,
    pub attributes: &'a [Attribute],
    pub max_enrollments: i64,
}

/// An issued certificate.
#[derive(Debug, Clone)]
pub(crate) struct NewCertificate<'a> {
    pub id: &'a str,
    /// Lower-case hex without leading zeros.
    pub serial: &'a str,
    /// Lower-case hex without leading zeros.
    pub authority_key_id: &'a str,
    /// Unix seconds.
    pub not_after: i64,
    pub pem: &'a str,
}

/// The database. Calls block on the disk: make them off the reactor.
pub(crate) struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(path)?)
    }

    fn prepare(connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    pub fn identity(&self, id: &str) -> Result<Option<Identity>, StoreError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, token, type, affiliation, attributes, state, max_enrollments, \
             incorrect_password_attempts FROM users WHERE id = ?1",
        )?;
        let found = statement.query_row([id], read_identity).optional()?;
        found.map(complete).transpose()
    }

    /// Adds an identity; `false` if there is one of that name.
    pub fn add_identity(&self, identity: &NewIdentity<'_>) -> Result<bool, StoreError> {
        // Hashed before the lock is taken: it is slow.
        let hash = identities::hash(identity.password)?;
        let attributes = serde_json::to_string(identity.attributes)?;
        let added = self.connection.lock().execute(
            "INSERT INTO users (id, token, type, affiliation, attributes, state, \
             max_enrollments, level, incorrect_password_attempts) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, 2, 0) ON CONFLICT (id) DO NOTHING",
            params![
                identity.id,
                hash.as_bytes(),
                identity.kind,
                identity.affiliation,
                attributes,
                identity.max_enrollments
            ],
        )?;
        Ok(added == 1)
    }

    pub fn count_wrong_password(&self, id: &str) -> Result<(), StoreError> {
        self.connection.lock().execute(
            "UPDATE users SET incorrect_password_attempts = incorrect_password_attempts + 1 \
             WHERE id = ?1",
            [id],
        )?;
        Ok(())
    }

    pub fn forget_wrong_passwords(&self, id: &str) -> Result<(), StoreError> {
        self.connection.lock().execute(
            "UPDATE users SET incorrect_password_attempts = 0 \
             WHERE id = ?1 AND incorrect_password_attempts <> 0",
            [id],
        )?;
        Ok(())
    }

    pub fn has_affiliation(&self, name: &str) -> Result<bool, StoreError> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare_cached("SELECT 1 FROM affiliations WHERE name = ?1")?;
        Ok(statement.exists([name])?)
    }

    /// Adds an affiliation and those above it.
    pub fn add_affiliation(&self, name: &str) -> Result<(), StoreError> {
        let connection = self.connection.lock();
        let mut above = String::new();
        for part in name.split('.') {
            let path = if above.is_empty() {
                part.to_owned()
            } else {
                format!("{above}.{part}")
            };
            connection.execute(
                "INSERT INTO affiliations (name, prekey, level) VALUES (?1, ?2, 1) \
                 ON CONFLICT (name) DO NOTHING",
                [&path, &above],
            )?;
            above = path;
        }
        Ok(())
    }

    /// Records a certificate and, with `enrollments`, counts one enrolment of its owner, both or
    /// neither. `false` if the owner has used up `enrollments` (-1 for no limit) or was revoked
    /// meanwhile: then nothing was written and the certificate must not be handed out.
    pub fn add_certificate(
        &self,
        certificate: &NewCertificate<'_>,
        enrollments: Option<i64>,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        if let Some(limit) = enrollments {
            let counted = transaction.execute(
                "UPDATE users SET state = state + 1 \
                 WHERE id = ?1 AND state >= 0 AND (?2 = -1 OR state < ?2)",
                params![certificate.id, limit],
            )?;
            if counted != 1 {
                return Ok(false);
            }
        }
        transaction.execute(
            "INSERT INTO certificates (id, serial_number, authority_key_identifier, ca_label, \
             status, reason, expiry, revoked_at, pem, level) \
             VALUES (?1, ?2, ?3, '', 'good', 0, datetime(?4, 'unixepoch') || '+00:00', \
             '0001-01-01 00:00:00+00:00', ?5, 1)",
            params![
                certificate.id,
                certificate.serial,
                certificate.authority_key_id,
                certificate.not_after,
                certificate.pem
            ],
        )?;
        transaction.commit()?;
        Ok(true)
    }
}

/// The identity with its attributes read.
fn complete((mut identity, attributes): (Identity, String)) -> Result<Identity, StoreError> {
    if !attributes.is_empty() && attributes != "null" {
        identity.attributes = serde_json::from_str(&attributes)?;
    }
    Ok(identity)
}

/// The identity without its attributes, and these as JSON.
fn read_identity(row: &Row<'_>) -> rusqlite::Result<(Identity, String)> {
    let hash = match row.get_ref(1)? {
        rusqlite::types::ValueRef::Blob(bytes) | rusqlite::types::ValueRef::Text(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::new(),
    };
    let identity = Identity {
        id: row.get(0)?,
        password_hash: hash,
        kind: row.get(2)?,
        affiliation: row.get(3)?,
        attributes: Vec::new(),
        state: row.get(5)?,
        max_enrollments: row.get(6)?,
        incorrect_password_attempts: row.get(7)?,
    };
    let attributes: Option<String> = row.get(4)?;
    Ok((identity, attributes.unwrap_or_default()))
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS users (
    id VARCHAR(255), token bytea, type VARCHAR(256), affiliation VARCHAR(1024), attributes TEXT,
    state INTEGER, max_enrollments INTEGER, level INTEGER DEFAULT 0,
    incorrect_password_attempts INTEGER DEFAULT 0, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS affiliations (
    name VARCHAR(1024) NOT NULL UNIQUE, prekey VARCHAR(1024), level INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS certificates (
    id VARCHAR(255), serial_number blob NOT NULL, authority_key_identifier blob NOT NULL,
    ca_label blob, status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp,
    pem blob NOT NULL, level INTEGER DEFAULT 0,
    PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE IF NOT EXISTS properties (
    property VARCHAR(255), value VARCHAR(256), PRIMARY KEY (property));
INSERT INTO properties (property, value) VALUES
    ('identity.level', '2'), ('affiliation.level', '1'), ('certificate.level', '1'),
    ('credential.level', '1'), ('rcinfo.level', '1'), ('nonce.level', '1')
    ON CONFLICT (property) DO NOTHING;
";

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::prepare(Connection::open_in_memory().unwrap()).unwrap()
    }

    fn certificate<'a>(id: &'a str, serial: &'a str) -> NewCertificate<'a> {
        NewCertificate {
            id,
            serial,
            authority_key_id: "ab",
            not_after: 1_800_000_000,
            pem: "pem",
        }
    }

    fn add(store: &Store, id: &str, max_enrollments: i64) -> bool {
        let attributes = [Attribute {
            name: "color".into(),
            value: "blue".into(),
            ecert: true,
        }];
        store
            .add_identity(&NewIdentity {
                id,
                password: "secret",
                kind: "client",
                affiliation: "org1",
                attributes: &attributes,
                max_enrollments,
            })
            .unwrap()
    }

    #[test]
    fn an_identity_comes_back_as_it_was_added_and_only_once() {
        let store = store();
        assert!(add(&store, "alice", 2));
        assert!(!add(&store, "alice", 3));
        let alice = store.identity("alice").unwrap().unwrap();
        assert_eq!(alice.max_enrollments, 2);
        assert_eq!(alice.attribute("color"), Some("blue"));
        assert!(alice.password_fits("secret") && !alice.password_fits("Secret"));
        assert!(alice.password_hash.starts_with("$2a$10$"));
        assert!(store.identity("bob").unwrap().is_none());
    }

    #[test]
    fn enrolments_are_counted_with_the_certificate_and_stop_at_the_limit() {
        let store = store();
        add(&store, "alice", 1);
        assert!(
            store
                .add_certificate(&certificate("alice", "1"), Some(1))
                .unwrap()
        );
        assert!(
            !store
                .add_certificate(&certificate("alice", "2"), Some(1))
                .unwrap()
        );
        assert!(!store.certificate("1", "ab").unwrap().unwrap().revoked);
        assert_eq!(store.certificate("2", "ab").unwrap(), None);
        assert!(
            store
                .add_certificate(&certificate("alice", "3"), None)
                .unwrap()
        );
        assert_eq!(store.identity("alice").unwrap().unwrap().state, 1);
    }

    #[test]
    fn affiliations_bring_those_above_them() {
        let store = store();
        store.add_affiliation("org1.department1").unwrap();
        store.add_affiliation("org1.department1").unwrap();
        for (name, known) in [("org1", true), ("org1.department1", true), ("org2", false)] {
            assert_eq!(store.has_affiliation(name).unwrap(), known, "{name}");
        }
    }

    #[test]
    fn wrong_passwords_are_counted_and_forgotten() {
        let store = store();
        add(&store, "alice", -1);
        store.count_wrong_password("alice").unwrap();
        store.count_wrong_password("alice").unwrap();
        let attempts = |store: &Store| {
            store
                .identity("alice")
                .unwrap()
                .unwrap()
                .incorrect_password_attempts
        };
        assert_eq!(attempts(&store), 2);
        store.forget_wrong_passwords("alice").unwrap();
        assert_eq!(attempts(&store), 0);
    }

    #[test]
    fn identities_are_listed_page_by_page_below_an_affiliation_and_of_some_types() {
        let store = store();
        for (id, kind, affiliation) in [
            ("a", "client", ""),
            ("b", "peer", "org1"),
            ("c", "client", "org1.x"),
            ("d", "client", "org10"),
        ] {
            let added = store.add_identity(&NewIdentity {
                id,
                password: "p",
                kind,
                affiliation,
                attributes: &[],
                max_enrollments: -1,
            });
            assert!(added.unwrap());
        }
        let ids = |affiliation: &str, kinds: Option<&[&str]>| {
            let filter = IdentityFilter {
                affiliation: affiliation.into(),
                kinds: kinds.map(|kinds| kinds.iter().map(|kind| (*kind).into()).collect()),
            };
            let (mut ids, mut after) = (String::new(), 0);
            while let Some((row, identity)) = store.identities(&filter, after, 1).unwrap().pop() {
                ids.push_str(&identity.id);
                after = row;
            }
            ids
        };
        assert_eq!(ids("", None), "abcd");
        assert_eq!(ids("org1", None), "bc");
        assert_eq!(ids("", Some(&["client"])), "acd");
        assert_eq!(ids("org1", Some(&["client", "user"])), "c");
    }

    #[test]
    fn certificates_are_revoked_one_by_one_and_with_their_identity() {
        let store = store();
        add(&store, "alice", -1);
        for serial in ["1", "2", "3"] {
            let issued = certificate("alice", serial);
            assert!(store.add_certificate(&issued, None).unwrap());
        }
        store.revoke_certificate("1", "ab", 1).unwrap();
        assert!(store.certificate("1", "ab").unwrap().unwrap().revoked);
        let listed = |filter: CertificateFilter| store.certificates(&filter, 0, 10).unwrap().len();
        let good = CertificateFilter {
            not_revoked: true,
            ..CertificateFilter::default()
        };
        assert_eq!((listed(CertificateFilter::default()), listed(good)), (3, 2));
        let rest = store.revoke_identity("alice", 0).unwrap();
        let serials: Vec<_> = rest.iter().map(|one| one.serial.as_str()).collect();
        assert_eq!(serials, ["2", "3"]);
        assert_eq!(store.identity("alice").unwrap().unwrap().state, -1);
        let all = Times::default();
        let revoked = store.revoked(all, all).unwrap();
        assert_eq!(revoked.len(), 3);
        assert!(revoked.iter().all(|one| one.at > 1_700_000_000));
        let before = Times {
            from: None,
            to: Some(1_700_000_000),
        };
        assert!(store.revoked(all, before).unwrap().is_empty());
        assert!(store.revoked(before, all).unwrap().is_empty());
        let within = Times {
            from: Some(1_700_000_000),
            to: None,
        };
        assert_eq!(
            listed(CertificateFilter {
                revoked: within,
                ..CertificateFilter::default()
            }),
            3
        );
        assert_eq!(
            listed(CertificateFilter {
                expired: before,
                ..CertificateFilter::default()
            }),
            0
        );
    }

    #[test]
    fn affiliations_are_renamed_and_removed_with_all_that_hangs_on_them() {
        let store = store();
        store.add_affiliation("org1.x").unwrap();
        store.add_affiliation("org10").unwrap();
        add(&store, "alice", -1);
        let issued = certificate("alice", "1");
        assert!(store.add_certificate(&issued, None).unwrap());
        let refused = store.remove_affiliation("org1", |_| Err("no")).unwrap();
        assert_eq!(refused.unwrap_err(), "no");
        let moved = |identity: &mut Identity, affiliation| identity.affiliation = affiliation;
        let agree = |_: &Affiliated| Ok::<_, ()>(());
        let renamed = store
            .rename_affiliation("org1", "org2.y", agree, moved)
            .unwrap();
        assert_eq!(renamed.unwrap().affiliations, ["org2.y", "org2.y.x"]);
        assert_eq!(
            store.identity("alice").unwrap().unwrap().affiliation,
            "org2.y"
        );
        assert_eq!(
            store.affiliations("").unwrap(),
            ["org10", "org2.y", "org2.y.x"]
        );
        let removed = store.remove_affiliation("org2.y", agree).unwrap().unwrap();
        assert_eq!(removed.identities.len(), 1);
        assert!(store.identity("alice").unwrap().is_none());
        assert!(store.certificate("1", "ab").unwrap().unwrap().revoked);
        assert_eq!(store.affiliations("").unwrap(), ["org10"]);
    }
}
