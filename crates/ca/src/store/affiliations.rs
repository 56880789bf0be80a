//! The tree of affiliations, and the identities that hang on it.

use rusqlite::{Connection, params, params_from_iter};

use super::identities::{BELOW, COLUMNS, REVOKE_OF_IDENTITY, below, collect, read, reason};
use super::{Identity, Store, StoreError};

/// A part of the tree: affiliations and those who have them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affiliated {
    pub affiliations: Vec<String>,
    pub identities: Vec<Identity>,
}

impl Store {
    /// An affiliation and those below it, in order; all if `name` is empty.
    pub fn affiliations(&self, name: &str) -> Result<Vec<String>, StoreError> {
        affiliations_of(&self.connection.lock(), name)
    }

    /// Adds one affiliation below one that is there. `false` if it was there already.
    pub fn add_one_affiliation(&self, name: &str) -> Result<bool, StoreError> {
        let added = self.connection.lock().execute(
            "INSERT INTO affiliations (name, prekey, level) VALUES (?1, ?2, 1) \
             ON CONFLICT (name) DO NOTHING",
            [name, above(name)],
        )?;
        Ok(added == 1)
    }

    /// Removes an affiliation and those below it, with their identities, whose certificates are
    /// revoked, if `judge` agrees; gives what was removed.
    pub fn remove_affiliation<R>(
        &self,
        name: &str,
        judge: impl FnOnce(&Affiliated) -> Result<(), R>,
    ) -> Result<Result<Affiliated, R>, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let affected = affiliated(&transaction, name)?;
        if let Err(refusal) = judge(&affected) {
            return Ok(Err(refusal));
        }
        for identity in &affected.identities {
            transaction.execute("DELETE FROM users WHERE id = ?1", [&identity.id])?;
            transaction.execute(
                REVOKE_OF_IDENTITY,
                params![identity.id, reason::AFFILIATION_CHANGED],
            )?;
        }
        for affiliation in &affected.affiliations {
            transaction.execute("DELETE FROM affiliations WHERE name = ?1", [affiliation])?;
        }
        transaction.commit()?;
        Ok(Ok(affected))
    }

    /// Renames an affiliation and those below it, and moves their identities, if `judge` agrees;
    /// gives what has the new names.
    pub fn rename_affiliation<R>(
        &self,
        name: &str,
        new_name: &str,
        judge: impl FnOnce(&Affiliated) -> Result<(), R>,
        moved: impl Fn(&mut Identity, String),
    ) -> Result<Result<Affiliated, R>, StoreError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let mut affected = affiliated(&transaction, name)?;
        if let Err(refusal) = judge(&affected) {
            return Ok(Err(refusal));
        }
        let renamed = |old: &str| format!("{new_name}{}", old.strip_prefix(name).unwrap_or(old));
        for affiliation in &mut affected.affiliations {
            let new = renamed(affiliation);
            transaction.execute(
                "UPDATE affiliations SET name = ?2, prekey = ?3 WHERE name = ?1",
                params![affiliation.as_str(), new, above(&new)],
            )?;
            *affiliation = new;
        }
        for identity in &mut affected.identities {
            let new = renamed(&identity.affiliation);
            moved(identity, new);
            transaction.execute(
                "UPDATE users SET affiliation = ?2, attributes = ?3 WHERE id = ?1",
                params![
                    identity.id,
                    identity.affiliation,
                    serde_json::to_string(&identity.attributes)?
                ],
            )?;
        }
        transaction.commit()?;
        Ok(Ok(affected))
    }
}

fn affiliated(connection: &Connection, name: &str) -> Result<Affiliated, StoreError> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM users WHERE 1{BELOW} ORDER BY rowid"
    ))?;
    let identities = collect(statement.query_map(params_from_iter(below(name)), read)?)?;
    Ok(Affiliated {
        affiliations: affiliations_of(connection, name)?,
        identities,
    })
}

fn affiliations_of(connection: &Connection, name: &str) -> Result<Vec<String>, StoreError> {
    let prefix = format!("{name}.");
    let mut statement = connection.prepare(
        "SELECT name FROM affiliations \
         WHERE ?1 = '' OR name = ?1 OR substr(name, 1, length(?2)) = ?2 ORDER BY name",
    )?;
    let rows = statement.query_map([name, &prefix], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// `org1` of `org1.department1`.
pub(crate) fn above(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(above, _)| above)
}
