//! Changing, removing and listing identities.

use rusqlite::{Row, params, params_from_iter};

use super::{BCRYPT_COST, Identity, Store, StoreError, complete, read_identity};

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

/// Certificates of an identity that were good until now.
pub(super) const REVOKE_OF_IDENTITY: &str = "UPDATE certificates \
    SET status = 'revoked', revoked_at = datetime('now') || '+00:00', reason = ?2 \
    WHERE id = ?1 AND CAST(status AS TEXT) <> 'revoked'";

impl Store {
    /// Writes type, affiliation, attributes and limit of an identity, and a new password if one is
    /// given, which unlocks it. `false` if there is none of that name.
    pub fn update_identity(
        &self,
        identity: &Identity,
        password: Option<&str>,
    ) -> Result<bool, StoreError> {
        // Hashed before the lock is taken: it is slow.
        let hash = password.map(hash).transpose()?;
        let attributes = serde_json::to_string(&identity.attributes)?;
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let changed = transaction.execute(
            "UPDATE users SET type = ?2, affiliation = ?3, attributes = ?4, max_enrollments = ?5 \
             WHERE id = ?1",
            params![
                identity.id,
                identity.kind,
                identity.affiliation,
                attributes,
                identity.max_enrollments
            ],
        )?;
        if let Some(hash) = hash {
            transaction.execute(
                "UPDATE users SET token = ?2, incorrect_password_attempts = 0 WHERE id = ?1",
                params![identity.id, hash.as_bytes()],
            )?;
        }
        transaction.commit()?;
        Ok(changed == 1)
    }

    /// Removes an identity and revokes its certificates. `false` if there is none of that name.
    pub fn remove_identity(&self, id: &str) -> Result<bool, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let removed = transaction.execute("DELETE FROM users WHERE id = ?1", [id])?;
        transaction.execute(
            REVOKE_OF_IDENTITY,
            params![id, reason::CESSATION_OF_OPERATION],
        )?;
        transaction.commit()?;
        Ok(removed == 1)
    }

    /// Revokes an identity and its certificates, which are given if they were good until now.
    pub fn revoke_identity(
        &self,
        id: &str,
        reason: i64,
    ) -> Result<Vec<RevokedCertificate>, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        transaction.execute("UPDATE users SET state = -1 WHERE id = ?1", [id])?;
        let revoked = {
            let mut statement = transaction.prepare(
                "SELECT CAST(serial_number AS TEXT), CAST(authority_key_identifier AS TEXT) \
                 FROM certificates WHERE id = ?1 AND CAST(status AS TEXT) <> 'revoked' \
                 ORDER BY rowid",
            )?;
            let rows = statement.query_map([id], |row| {
                Ok(RevokedCertificate {
                    serial: row.get(0)?,
                    authority_key_id: row.get(1)?,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        transaction.execute(REVOKE_OF_IDENTITY, params![id, reason])?;
        transaction.commit()?;
        Ok(revoked)
    }

    /// Up to `limit` identities after the row `after`, each with its row.
    pub fn identities(
        &self,
        filter: &IdentityFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Identity)>, StoreError> {
        let mut query = format!("SELECT {COLUMNS}, rowid FROM users WHERE rowid > ?");
        let mut values: Vec<rusqlite::types::Value> = vec![after.into()];
        if !filter.affiliation.is_empty() {
            query.push_str(BELOW);
            values.extend(below(&filter.affiliation));
        }
        if let Some(kinds) = &filter.kinds {
            let marks = vec!["?"; kinds.len()].join(", ");
            query.push_str(&format!(" AND type IN ({marks})"));
            values.extend(kinds.iter().map(|kind| kind.clone().into()));
        }
        query.push_str(" ORDER BY rowid LIMIT ?");
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let connection = self.connection.lock();
        let mut statement = connection.prepare(&query)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok((row.get::<_, i64>(8)?, read_identity(row)?))
        })?;
        rows.map(|row| {
            let (rowid, read) = row?;
            Ok((rowid, complete(read)?))
        })
        .collect()
    }
}

/// The columns that [`read_identity`] reads.
pub(super) const COLUMNS: &str = "id, token, type, affiliation, attributes, state, \
    max_enrollments, incorrect_password_attempts";

/// The affiliation itself or one below it; takes what [`below`] gives.
pub(super) const BELOW: &str = " AND (affiliation = ? OR substr(affiliation, 1, length(?)) = ?)";

pub(super) fn below(affiliation: &str) -> [rusqlite::types::Value; 3] {
    let prefix = format!("{affiliation}.");
    [
        affiliation.to_owned().into(),
        prefix.clone().into(),
        prefix.into(),
    ]
}

pub(super) fn hash(password: &str) -> Result<String, StoreError> {
    Ok(
        bcrypt::non_truncating_hash_with_result(password, BCRYPT_COST)?
            .format_for_version(bcrypt::Version::TwoA),
    )
}

/// All identities that `rows` hold.
pub(super) fn collect(
    rows: impl Iterator<Item = rusqlite::Result<(Identity, String)>>,
) -> Result<Vec<Identity>, StoreError> {
    rows.map(|row| complete(row?)).collect()
}

/// For `query_map`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Identity, String)> {
    read_identity(row)
}
