//! The FHIR surface with what it keeps on this machine.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context;
use consilium_ca::folders;
use consilium_fhir::{Custodian, Fhir, Identity, Settings, Store};

use super::{
    authenticate::{Members, identity_of},
    ledger::PeerLedger,
    vault,
    wallet::Wallet,
};
use crate::config::GatewayConfig;

/// Bytes of a request's body: a bundle of a thousand resources.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Opens the folder `data`, making it where it is new. `keys/` and the two secrets beside it open
/// the documents: they belong on another disk, or at least in no ordinary backup.
///
/// # Errors
/// A file cannot be read or made, or the key service is nobody in the wallet.
pub fn open(
    data: &Path,
    settings: &GatewayConfig,
    pseudonym_key: &Path,
    ledger: Arc<PeerLedger>,
    wallet: &Wallet,
    members: Arc<Members>,
) -> anyhow::Result<Fhir> {
    folders::make_folder(data, true)?;
    let store = data.join("documents.sqlite");
    let [master, index] = ["master.key", "index.key"].map(|name| data.join(name));
    if !store.exists() {
        // Later a key that is missing is an accident, which another key would make worse.
        vault::make_secret(&master)?;
        vault::make_secret(&index)?;
    }
    let keys = vault::FileVault::open(&data.join("keys"), vault::secret(&master)?)?;
    let index = vault::secret(&index)?;
    let store =
        Store::open(&store, &index).with_context(|| format!("cannot open {}", store.display()))?;
    let sector = vault::secret(pseudonym_key)?;
    let mut custodians = BTreeMap::new();
    if let Some(name) = &settings.key_service {
        let member = wallet.member(name)?.with_context(|| {
            format!("the wallet has no identity {name}, which keyService names")
        })?;
        let key_service: Identity = identity_of(&member, None);
        custodians.insert(settings.msp_id.clone(), Custodian { key_service });
    }
    let settings = Settings {
        base: format!("{}/fhir", settings.external_url),
        custodians,
        max_body: MAX_BODY,
        token_endpoint: Some(super::token_endpoint(&settings.external_url)),
    };
    Ok(Fhir::new(
        settings,
        ledger,
        Arc::new(keys),
        Arc::new(store),
        members,
        Arc::new(*sector),
    ))
}
