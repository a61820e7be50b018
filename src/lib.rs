//! `postgres-s3-backups`: at each due time it runs `pg_dump`, gzips its output as it streams, sends it through a
//! multipart upload to Cloudflare R2 or any S3, and answers `/health` with the truth about the newest backup.
//!
//! What holds, and where:
//! - An object has a final name only if `pg_dump` exited 0, its output was read to the end, the dump's end marker was
//!   there and every byte was acknowledged: [`upload::Upload::complete`] takes a [`dump::CleanExit`], which only
//!   [`dump::Dump::finish`] makes.
//! - A restore is committed only after the object was read whole: [`restore`] needs a [`reader::ReadWhole`], which only
//!   [`reader::read`] makes.
//! - Nothing is written to disk, and what is held in memory does not grow with the database: [`backup`].
//! - The bucket is the state: [`catalog`] reads names back; there is no index and no local file.
//! - No child sees the database URL, and no log, error or answer a secret: [`postgres`], [`secret`].
//! - Decisions are functions of data and the time: [`schedule`], [`health`], [`config`], [`check`], [`anomaly`],
//!   [`alert`]. Only `main`
//!   reads the environment and the clock.
//! - A failed backup never ends the daemon: [`daemon`].
//!
//! What is deliberately absent: a trait with one implementation, a temporary file, a shell, a delete of an object.

pub mod chain;
pub mod kind;
pub mod secret;

pub mod config;
pub mod endpoint;
pub mod telemetry;

pub mod daemon;
pub mod prover;
mod provisional;
pub mod runs;
pub mod schedule;
pub mod shell;
pub mod signals;

pub mod answer;
pub mod archive;
pub mod backup;
pub mod catalog;
pub mod dump;
pub mod envelope;
pub mod globals;
pub mod gzip;
pub mod label;
pub mod level;
mod lexer;
pub mod origin;
pub mod part;
pub mod pipeline;
pub mod postgres;
pub mod script;
mod statement;
pub mod store;
pub mod upload;

pub mod confine;
pub mod download;
pub mod drill;
pub mod embedded;
pub mod newborn;
pub mod proxy;
pub mod reader;
pub mod renewable;
pub mod renewal;
pub mod replay;
pub mod restore;
pub mod target;
pub mod verify;

pub mod board;
pub mod calendar;
pub mod gate;
pub mod health;
pub mod http;
pub mod metrics;
pub mod page;
pub mod places;

pub mod alert;
pub mod anomaly;
pub mod heartbeat;
pub mod text;
pub mod tls;
pub mod webhook;

pub mod check;
pub mod cli;
pub mod commands;
pub mod progress;
