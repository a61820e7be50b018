//! `postgres-s3-backups`: at each due time it runs `pg_dump`, gzips its output as it streams, sends it through a
//! multipart upload to Cloudflare R2 or any S3, and answers `/health` with the truth about the newest backup.
//!
//! What holds, and where:
//! - An object has a final name only if `pg_dump` exited 0, its output was read to the end, the dump's end marker was
//!   there and every byte was acknowledged: [`store::upload::Upload::complete`] takes a [`dump::CleanExit`], which only
//!   [`dump::Dump::finish`] makes.
//! - A restore is committed only after the object was read whole: [`restore`] needs a [`reader::ReadWhole`], which only
//!   [`reader::read`] makes.
//! - Nothing is written to disk, and what is held in memory does not grow with the database: [`backup`].
//! - The bucket is the state: [`catalog`] reads names back; there is no index and no local file.
//! - No child sees the database URL, and no log, error or answer a secret: [`postgres`], [`secret`].
//! - Decisions are functions of data and the time: [`schedule`], [`board::health`], [`config`], `check`, [`board::anomaly`],
//!   [`watch::alert`]. Only `main` reads the environment and the clock.
//! - A failed backup never ends the daemon: [`daemon`].
//!
//! What is deliberately absent: a trait with one implementation, a temporary file, a shell, a delete of an object.

pub mod fault;
pub mod format;
pub(crate) mod network;
pub mod process;
pub mod schedule;
pub mod secret;
pub mod telemetry;

pub mod dump;
pub mod postgres;
pub mod store;

pub mod backup;
pub mod catalog;
pub(crate) mod drill;
pub(crate) mod globals;
pub mod reader;
pub mod restore;
pub(crate) mod verify;

pub mod board;
pub mod watch;
pub mod web;

pub(crate) mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod progress;
