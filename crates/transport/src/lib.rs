//! TLS, gRPC servers and channels.
