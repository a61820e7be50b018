//! What every connection to the outside shares: TLS, and the way through a proxy.

pub mod proxy;
pub mod tls;
