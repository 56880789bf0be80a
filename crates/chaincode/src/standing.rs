//! How the chaincodes of a peer stand, for those who watch it.

use std::collections::BTreeMap;

use crate::host::Host;
use crate::launch::State;
use crate::package::Program;

/// A chaincode that this peer has installed, or that its developer has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeStanding {
    /// The package id, or the name that a chaincode under development registers under.
    pub id: String,
    /// How it is run: `in process`, `service`, `external builder` or `development`.
    pub runs: &'static str,
    /// Where a service listens.
    pub address: Option<String>,
    /// `ready`, `starting`, `not started` or `unavailable`. What is not ready is started, or dialled, by
    /// the next call.
    pub state: &'static str,
    /// Why it is unavailable.
    pub cause: Option<String>,
}

impl Host {
    /// How all of them stand, by id.
    pub fn standings(&self) -> Vec<ChaincodeStanding> {
        let packages = self.installed.all().into_iter();
        let installed: BTreeMap<_, _> = packages
            .map(|package| (package.id.clone(), package))
            .collect();
        let developed = self.launches.names_without(&installed).into_iter();
        let standing = |id: String, program: &Program| {
            let (state, cause) = match (program, self.launches.state(&id)) {
                (Program::InProcess(_), _) | (_, State::Ready) => ("ready", None),
                (_, State::Starting) => ("starting", None),
                (_, State::NotStarted) => ("not started", None),
                (_, State::Unavailable(cause)) => ("unavailable", Some(cause)),
            };
            let (runs, address) = match program {
                Program::InProcess(_) => ("in process", None),
                Program::Service(connection) => ("service", Some(connection.address.clone())),
                Program::External => ("external builder", None),
                Program::Developed => ("development", None),
            };
            ChaincodeStanding {
                id,
                runs,
                address,
                state,
                cause,
            }
        };
        let mut standings: Vec<_> = installed
            .values()
            .map(|package| standing(package.id.clone(), &package.program))
            .chain(developed.map(|id| standing(id, &Program::Developed)))
            .collect();
        standings.sort_by(|one, other| one.id.cmp(&other.id));
        standings
    }
}
