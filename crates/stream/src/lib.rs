//! The bytes of a dump: read as SQL, cut into blocks, compressed, and read back. Nothing here knows a store or a server.
//!
//! This is a package of its own because the compiler's level of optimisation is set for whole packages: the code that touches
//! every byte is built to be fast, and the rest of the program to be small.

pub mod archive;
pub mod gzip;
pub mod level;
mod lexer;
pub mod part;
pub mod pipeline;
pub mod replay;
pub mod script;
mod statement;
