//! Identifiers of devices by the GS1 General Specifications. Pure functions.

pub mod gtin;
