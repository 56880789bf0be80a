//! Libraries, tokens, sessions, keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;

use crate::{TokenError, TokenOptions};

/// The library in this file. A process loads and initializes it once, and keeps it.
fn library(path: &Path) -> Result<Pkcs11, TokenError> {
    static LOADED: OnceLock<Mutex<HashMap<PathBuf, Pkcs11>>> = OnceLock::new();
    let mut loaded = LOADED.get_or_init(Mutex::default).lock();
    if let Some(library) = loaded.get(path) {
        return Ok(library.clone());
    }
    let refused = |error: Error| TokenError::Library {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let library = Pkcs11::new(path).map_err(refused)?;
    library
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(refused)?;
    loaded.insert(path.to_owned(), library.clone());
    Ok(library)
}

/// The slot whose token has the label.
fn slot(library: &Pkcs11, label: &str) -> Result<Slot, TokenError> {
    let failed = |error: Error| TokenError::Token(error.to_string());
    let mut found = Vec::new();
    for slot in library.get_slots_with_token().map_err(failed)? {
        let token = library.get_token_info(slot).map_err(failed)?;
        if token.label() == label {
            return Ok(slot);
        }
        if !token.label().is_empty() {
            found.push(format!("{:?}", token.label()));
        }
    }
    Err(TokenError::NoToken {
        label: label.to_owned(),
        found: if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        },
    })
}

/// A session that is logged in, and the private key in it.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) key: ObjectHandle,
}

/// Opens a session and finds the key by its `CKA_ID`.
pub(crate) fn open(options: &TokenOptions, key_id: &[u8]) -> Result<Opened, TokenError> {
    let failed = |error: Error| TokenError::Token(error.to_string());
    let library = library(&options.library)?;
    let slot = slot(&library, &options.label)?;
    let session = library.open_ro_session(slot).map_err(failed)?;
    let pin = AuthPin::new(options.pin.as_str().into());
    match session.login(UserType::User, Some(&pin)) {
        // Sessions of one process share their login.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => {
            return Err(TokenError::LogIn {
                label: options.label.clone(),
                reason: error.to_string(),
            });
        }
    }
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Id(key_id.to_vec()),
    ];
    let found = session.find_objects(&template).map_err(failed)?;
    let Some(key) = found.first().copied() else {
        return Err(TokenError::NoKey {
            label: options.label.clone(),
            id: hex::encode(key_id),
        });
    };
    Ok(Opened { session, key })
}
