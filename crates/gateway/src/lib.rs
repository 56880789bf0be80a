//! The Gateway service that Fabric's client SDKs speak.
