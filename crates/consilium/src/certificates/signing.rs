//! Where a node's signing identity comes from: certificate and key in the MSP folder, or the key in a
//! token.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use consilium_ca::folders;
use consilium_msp::Signer;
use consilium_pkcs11::{TokenOptions, TokenSigner};

use crate::{
    commands::connect::signer,
    config::{self, Bccsp},
};

/// A local MSP folder, and the token if the key is in one.
#[derive(Clone, Debug)]
pub struct SigningSource {
    /// The folder.
    pub msp_dir: PathBuf,
    /// Its MSP id.
    pub msp_id: String,
    /// Where the key is; in `keystore` of the folder where there is none.
    pub token: Option<TokenOptions>,
}

impl SigningSource {
    /// What the configuration `file` says.
    ///
    /// # Errors
    /// `BCCSP` has an impossible value.
    pub fn new(file: &Path, msp_dir: &Path, msp_id: &str, bccsp: &Bccsp) -> anyhow::Result<Self> {
        let token = bccsp
            .token(file)
            .with_context(|| file.display().to_string())?;
        Ok(Self {
            msp_dir: config::relative(file, msp_dir),
            msp_id: msp_id.to_owned(),
            token,
        })
    }

    /// The identity as it lies there now.
    ///
    /// # Errors
    /// Certificate and key are missing, or do not belong together, or the token refuses.
    pub fn read(&self) -> anyhow::Result<Arc<dyn Signer>> {
        let Some(token) = &self.token else {
            return signer(&self.msp_dir, &self.msp_id);
        };
        let certificate = folders::read_signer_certificate(&self.msp_dir)?;
        let signer = TokenSigner::open(token, &self.msp_id, &certificate)
            .with_context(|| format!("the identity in {} cannot sign", self.msp_dir.display()))?;
        Ok(Arc::new(signer))
    }
}
