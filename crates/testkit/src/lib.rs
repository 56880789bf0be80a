//! Identities and fixtures for tests.
