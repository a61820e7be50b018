//! What every connection to the outside shares: addresses, TLS, and the way through a proxy.

pub mod address;
pub mod proxy;
pub mod tls;
