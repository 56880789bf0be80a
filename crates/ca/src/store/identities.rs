//! Changing, removing and listing identities.

use super::database::{Cursor, Dialect, Query, Session, Value};
use super::{BCRYPT_COST, COLUMNS, Identity, Store, StoreError, read_identity};
use crate::authority::now;

/// Why a certificate counts no more (RFC 5280, 5.3.1).
pub(crate) mod reason {
    pub const AFFILIATION_CHANGED: i64 = 3;
    pub const CESSATION_OF_OPERATION: i64 = 5;
}

/// How a revoked certificate is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokedCertificate {
    pub serial: String,
    pub authority_key_id: String,
}

/// Which identities to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityFilter {
    /// Those of this affiliation and below it; of all if empty.
    pub affiliation: String,
    /// Those of these types; of all if absent.
    pub kinds: Option<Vec<String>>,
}

/// Revokes those certificates of an identity that were good until now.
pub(super) fn revoke_certificates_of(
    session: &mut dyn Session,
    dialect: Dialect,
    id: &str,
    reason: i64,
) -> Result<(), StoreError> {
    let revoked = dialect.is("status", "revoked");
    session.execute(
        &format!(
            "UPDATE certificates SET status = 'revoked', revoked_at = ?2, reason = ?3 \
             WHERE id = ?1 AND NOT ({revoked})"
        ),
        &[id.into(), Value::Moment(now()), reason.into()],
    )?;
    Ok(())
}

impl Store {
    /// Writes type, affiliation, attributes and limit of an identity, and a new password if one is
    /// given, which unlocks it. `false` if there is none of that name.
    pub fn update_identity(
        &self,
        identity: &Identity,
        password: Option<&str>,
    ) -> Result<bool, StoreError> {
        // Hashed before others are kept waiting: it is slow.
        let hash = password.map(hash).transpose()?;
        let attributes = serde_json::to_string(&identity.attributes)?;
        self.database.transaction(|session| {
            let changed = session.execute(
                "UPDATE users SET type = ?2, affiliation = ?3, attributes = ?4, \
                 max_enrollments = ?5 WHERE id = ?1",
                &[
                    (&identity.id).into(),
                    (&identity.kind).into(),
                    (&identity.affiliation).into(),
                    attributes.into(),
                    identity.max_enrollments.into(),
                ],
            )?;
            if let Some(hash) = hash {
                session.execute(
                    "UPDATE users SET token = ?2, incorrect_password_attempts = 0 WHERE id = ?1",
                    &[(&identity.id).into(), hash.as_bytes().into()],
                )?;
            }
            Ok(changed == 1)
        })
    }

    /// Removes an identity and revokes its certificates. `false` if there is none of that name.
    pub fn remove_identity(&self, id: &str) -> Result<bool, StoreError> {
        let dialect = self.database.dialect();
        self.database.transaction(|session| {
            let removed = session.execute("DELETE FROM users WHERE id = ?1", &[id.into()])?;
            revoke_certificates_of(session, dialect, id, reason::CESSATION_OF_OPERATION)?;
            Ok(removed == 1)
        })
    }

    /// Revokes an identity and its certificates, which are given if they were good until now.
    pub fn revoke_identity(
        &self,
        id: &str,
        reason: i64,
    ) -> Result<Vec<RevokedCertificate>, StoreError> {
        let dialect = self.database.dialect();
        let (revoked, keys) = (dialect.is("status", "revoked"), dialect.certificate_keys());
        self.database.transaction(|session| {
            session.execute("UPDATE users SET state = -1 WHERE id = ?1", &[id.into()])?;
            let good = session.query(
                &format!(
                    "SELECT serial_number, authority_key_identifier FROM certificates \
                     WHERE id = ?1 AND NOT ({revoked}) ORDER BY {keys}"
                ),
                &[id.into()],
            )?;
            revoke_certificates_of(session, dialect, id, reason)?;
            let named = good.iter().map(|row| RevokedCertificate {
                serial: row.text(0),
                authority_key_id: row.text(1),
            });
            Ok(named.collect())
        })
    }

    /// Up to `limit` identities after `cursor`, each with its own.
    pub fn identities(
        &self,
        filter: &IdentityFilter,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<Vec<(Cursor, Identity)>, StoreError> {
        let keys = self.database.dialect().identity_keys();
        let mut query = Query::new(format!("SELECT {COLUMNS}, {keys} FROM users WHERE 1 = 1"));
        if !filter.affiliation.is_empty() {
            below(&mut query, &filter.affiliation);
        }
        if let Some(kinds) = &filter.kinds {
            let parameters: Vec<String> = kinds
                .iter()
                .map(|kind| format!("?{}", query.value(kind)))
                .collect();
            let chosen = match parameters.is_empty() {
                true => " AND 1 = 0".into(),
                false => format!(" AND type IN ({})", parameters.join(", ")),
            };
            query.text.push_str(&chosen);
        }
        query.page(keys, cursor, limit);
        let rows = self.database.query(&query.text, &query.values)?;
        rows.into_iter()
            .map(|row| {
                let identity = read_identity(&row)?;
                Ok((Cursor(row.rest(8)), identity))
            })
            .collect()
    }
}

/// Only those with this affiliation or one below it.
pub(super) fn below(query: &mut Query, affiliation: &str) {
    let (name, prefix) = (
        query.value(affiliation),
        query.value(format!("{affiliation}.")),
    );
    query.text.push_str(&format!(
        " AND (affiliation = ?{name} OR substr(affiliation, 1, length(?{prefix})) = ?{prefix})"
    ));
}

pub(super) fn hash(password: &str) -> Result<String, StoreError> {
    Ok(
        bcrypt::non_truncating_hash_with_result(password, BCRYPT_COST)?
            .format_for_version(bcrypt::Version::TwoA),
    )
}
