//! X.509 identities, MSPs, principals and policies, as pure functions.
