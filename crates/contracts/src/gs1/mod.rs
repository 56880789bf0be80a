//! Identifiers of devices by the GS1 General Specifications. Pure functions.
//!
//! [`gtin`] is the number of a product, [`udi`] the carrier on one device.

pub mod gtin;
#[cfg(test)]
mod tests;
pub mod udi;
