//! The certificate authority in Fabric CA's REST form, and its client.
