//! Client commands.

pub mod bench;
pub mod call;
pub mod connect;
pub mod events;
