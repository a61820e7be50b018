//! What every connection to the outside shares: addresses, TLS, and the way through a proxy.

pub(crate) mod address;
pub(crate) mod proxy;
pub(crate) mod tls;
