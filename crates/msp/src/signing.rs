//! In whose name a node signs, as long as it runs.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::signer::{SignError, Signer};

/// A [`Signer`] that can be replaced while it is in use, as certificates are renewed.
///
/// Clones are the same identity. What is written in the signer's name and the signature below it
/// have to come from one signer: take [`SigningIdentity::current`] once for both.
#[derive(Clone)]
pub struct SigningIdentity {
    msp_id: Arc<str>,
    current: Arc<RwLock<Arc<dyn Signer>>>,
}

impl SigningIdentity {
    /// An identity that begins with `signer`.
    pub fn new(signer: Arc<dyn Signer>) -> Self {
        Self {
            msp_id: Arc::from(signer.msp_id()),
            current: Arc::new(RwLock::new(signer)),
        }
    }

    /// The MSP of the identity, which stays.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// Who signs now.
    pub fn current(&self) -> Arc<dyn Signer> {
        self.current.read().clone()
    }

    /// Lets `signer` sign from now on.
    ///
    /// # Errors
    /// [`SignError::OtherMsp`] when it is of another MSP; the old one then stays.
    pub fn replace(&self, signer: Arc<dyn Signer>) -> Result<(), SignError> {
        if signer.msp_id() != self.msp_id() {
            return Err(SignError::OtherMsp {
                expected: self.msp_id().to_owned(),
                found: signer.msp_id().to_owned(),
            });
        }
        *self.current.write() = signer;
        Ok(())
    }
}

impl std::fmt::Debug for SigningIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SigningIdentity")
            .field("msp_id", &self.msp_id)
            .field("certificate", self.current().certificate())
            .finish_non_exhaustive()
    }
}

impl From<Arc<dyn Signer>> for SigningIdentity {
    fn from(signer: Arc<dyn Signer>) -> Self {
        Self::new(signer)
    }
}

impl<S: Signer + 'static> From<Arc<S>> for SigningIdentity {
    fn from(signer: Arc<S>) -> Self {
        Self::new(signer)
    }
}
