//! The MSP of a node's own organization, as long as the node runs.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::msp::Msp;
use crate::msps::MspManager;

/// What a node's MSP folder says about its organization. It can be replaced while it is in use, as roots
/// are renewed; clones are the same one.
#[derive(Clone)]
pub struct LocalMsp {
    current: Arc<RwLock<(Arc<Msp>, MspManager)>>,
}

impl LocalMsp {
    /// The organization as it is now.
    pub fn current(&self) -> Arc<Msp> {
        self.current.read().0.clone()
    }

    /// The same with a cache of identities.
    pub fn manager(&self) -> MspManager {
        self.current.read().1.clone()
    }

    /// Lets `msp` count from now on.
    pub fn replace(&self, msp: Arc<Msp>) {
        let manager = MspManager::of(msp.clone());
        *self.current.write() = (msp, manager);
    }
}

impl From<Arc<Msp>> for LocalMsp {
    fn from(msp: Arc<Msp>) -> Self {
        let manager = MspManager::of(msp.clone());
        Self {
            current: Arc::new(RwLock::new((msp, manager))),
        }
    }
}
