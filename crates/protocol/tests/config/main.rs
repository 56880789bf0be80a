//! Channel configuration: validity, updates, transitions, consenters; with organizations made on the
//! spot.

mod consenters;
mod network;
mod properties;
mod settings;
mod transitions;
mod updates;
mod validity;
