//! Starting built chaincode before it is called, and ending what nobody can call any more.
//! (fabric: core/chaincode/lifecycle/custodian.go)

use crate::host::Host;
use crate::install::InstalledPackage;
use crate::lifecycle;
use crate::package::Program;
use crate::process;
use crate::program;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Packages by id.
type Packages = BTreeMap<String, Arc<InstalledPackage>>;

impl Host {
    /// Starts what external builders have built and what can be invoked on a channel of this peer, so
    /// that no call has to wait for it; ends, once its calls are over, what no channel uses any more.
    /// To be called when a definition or what is installed has changed, and at start. Returns at once.
    pub fn keep_launched(self: &Arc<Self>) {
        // A developer decides what runs.
        if self.options.launch.development {
            return;
        }
        let host = self.clone();
        tokio::spawn(async move {
            let Some(used) = host.used_packages().await else {
                return;
            };
            let unused = host.launches.names_without(&used);
            if !unused.is_empty() {
                tokio::spawn(host.clone().end_unused());
            }
            // One after the other: many that start at once take long, each of them.
            for package in used.values() {
                if package.program == Program::External {
                    host.start_ahead(&package.id).await;
                }
            }
        });
    }

    async fn start_ahead(self: &Arc<Self>, ccid: &str) {
        let limits = self.limits();
        let start = || process::launch(self.clone(), ccid.to_owned(), limits);
        let patience = self.options.launch.startup_timeout;
        // Why not is logged where it is launched, and told to whoever calls it.
        let _ = self.launches.stream(ccid, patience, start).await;
    }

    /// Ends what no channel uses, after the calls that are under way.
    async fn end_unused(self: Arc<Self>) {
        tokio::time::sleep(self.options.execute_timeout).await;
        let Some(used) = self.used_packages().await else {
            return;
        };
        for ccid in self.launches.names_without(&used) {
            tracing::info!(ccid, "no channel uses this chaincode any more");
            self.launches.end(&ccid).await;
        }
    }

    /// The packages that can be invoked on a channel; `None` when a ledger cannot be read.
    async fn used_packages(self: &Arc<Self>) -> Option<Packages> {
        let host = self.clone();
        let found = tokio::task::spawn_blocking(move || host.find_used());
        match found.await.map_err(|error| error.to_string()) {
            Ok(Ok(used)) => Some(used),
            Ok(Err(cause)) | Err(cause) => {
                tracing::error!(cause, "cannot tell which chaincodes are used");
                None
            }
        }
    }

    fn find_used(&self) -> Result<Packages, String> {
        let mut used = Packages::new();
        for channel in self.support.channels() {
            let Some(ledger) = self.support.ledger(&channel) else {
                continue;
            };
            let state = ledger.reader().map_err(|error| error.to_string())?;
            let definitions = lifecycle::definitions(&state).map_err(|error| error.to_string())?;
            for definition in definitions {
                let (name, msp_id) = (definition.name.as_str(), self.support.msp_id());
                let found = program::find(&state, &channel, name, msp_id, &self.installed);
                // What cannot be invoked is used by nobody.
                if let Ok(runnable) = found {
                    used.insert(runnable.package.id.clone(), runnable.package);
                }
            }
        }
        Ok(used)
    }
}
