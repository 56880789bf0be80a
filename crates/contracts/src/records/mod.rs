//! The `records` contract: fingerprints of documents, consent, and decisions on access.

use crate::contract::{Contract, Response};
use crate::request::{Effect, Function, dispatch};
use crate::roles;
use crate::stub::Stub;

/// The contract `records`; see `docs/contracts.md`.
pub struct Records;

const FUNCTIONS: &[Function] = &[
    Function {
        name: "Configure",
        effect: Effect::Submit,
        expects: "{}",
        run: roles::configure,
    },
    Function {
        name: "ReadConfig",
        effect: Effect::Evaluate,
        expects: "{}",
        run: roles::read_config,
    },
];

impl Contract for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
