//! The tree of affiliations, and the identities that hang on it.

use super::database::{Dialect, Query, Session};
use super::identities::{below, reason, revoke_certificates_of};
use super::{COLUMNS, Identity, Store, StoreError, read_identity};

/// A part of the tree: affiliations and those who have them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affiliated {
    pub affiliations: Vec<String>,
    pub identities: Vec<Identity>,
}

impl Store {
    /// An affiliation and those below it, in order; all if `name` is empty.
    pub fn affiliations(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let query = affiliations_of(self.database.dialect(), name);
        let rows = self.database.query(&query.text, &query.values)?;
        Ok(rows.iter().map(|row| row.text(0)).collect())
    }

    /// Adds one affiliation below one that is there. `false` if it was there already.
    pub fn add_one_affiliation(&self, name: &str) -> Result<bool, StoreError> {
        let added = self.database.execute(
            "INSERT INTO affiliations (name, prekey, level) VALUES (?1, ?2, 1) \
             ON CONFLICT (name) DO NOTHING",
            &[name.into(), above(name).into()],
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
        let dialect = self.database.dialect();
        self.database.transaction(|session| {
            let affected = affiliated(session, dialect, name)?;
            if let Err(refusal) = judge(&affected) {
                return Ok(Err(refusal));
            }
            for Identity { id, .. } in &affected.identities {
                session.execute("DELETE FROM users WHERE id = ?1", &[id.into()])?;
                revoke_certificates_of(session, dialect, id, reason::AFFILIATION_CHANGED)?;
            }
            for affiliation in &affected.affiliations {
                let delete = "DELETE FROM affiliations WHERE name = ?1";
                session.execute(delete, &[affiliation.into()])?;
            }
            Ok(Ok(affected))
        })
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
        let dialect = self.database.dialect();
        let renamed = |old: &str| format!("{new_name}{}", old.strip_prefix(name).unwrap_or(old));
        self.database.transaction(|session| {
            let mut affected = affiliated(session, dialect, name)?;
            if let Err(refusal) = judge(&affected) {
                return Ok(Err(refusal));
            }
            for affiliation in &mut affected.affiliations {
                let new = renamed(affiliation);
                session.execute(
                    "UPDATE affiliations SET name = ?2, prekey = ?3 WHERE name = ?1",
                    &[(&*affiliation).into(), (&new).into(), above(&new).into()],
                )?;
                *affiliation = new;
            }
            for identity in &mut affected.identities {
                let new = renamed(&identity.affiliation);
                moved(identity, new);
                session.execute(
                    "UPDATE users SET affiliation = ?2, attributes = ?3 WHERE id = ?1",
                    &[
                        (&identity.id).into(),
                        (&identity.affiliation).into(),
                        serde_json::to_string(&identity.attributes)?.into(),
                    ],
                )?;
            }
            Ok(Ok(affected))
        })
    }
}

/// What belongs to an affiliation, and will until the transaction ends.
fn affiliated(
    session: &mut dyn Session,
    dialect: Dialect,
    name: &str,
) -> Result<Affiliated, StoreError> {
    if let Some(lock) = dialect.lock_affiliations() {
        session.execute(lock, &[])?;
    }
    let mut query = Query::new(format!("SELECT {COLUMNS} FROM users WHERE 1 = 1"));
    below(&mut query, name);
    query
        .text
        .push_str(&format!(" ORDER BY {}", dialect.identity_keys()));
    let rows = session.query(&query.text, &query.values)?;
    let identities = rows.iter().map(read_identity).collect::<Result<_, _>>()?;
    let query = affiliations_of(dialect, name);
    let rows = session.query(&query.text, &query.values)?;
    Ok(Affiliated {
        affiliations: rows.iter().map(|row| row.text(0)).collect(),
        identities,
    })
}

fn affiliations_of(dialect: Dialect, name: &str) -> Query {
    let mut query = Query::new("SELECT name FROM affiliations".into());
    if !name.is_empty() {
        let (name, prefix) = (query.value(name), query.value(format!("{name}.")));
        query.text.push_str(&format!(
            " WHERE name = ?{name} OR substr(name, 1, length(?{prefix})) = ?{prefix}"
        ));
    }
    query
        .text
        .push_str(&format!(" ORDER BY name{}", dialect.by_bytes()));
    query
}

/// `org1` of `org1.department1`.
pub(crate) fn above(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(above, _)| above)
}
