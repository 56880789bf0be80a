//! The `devices` contract: certification, custody, implants and recalls of devices.

use crate::contract::{Contract, Response};
use crate::request::{Effect, Function, dispatch};
use crate::roles;
use crate::stub::Stub;

/// The contract `devices`; see `docs/contracts.md`.
pub struct Devices;

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

impl Contract for Devices {
    fn name(&self) -> &'static str {
        "devices"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
