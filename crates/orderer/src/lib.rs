//! The ordering service: openraft per channel, block cutting, broadcast and deliver.
