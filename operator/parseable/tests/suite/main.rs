//! The client against a server: the stand-in, or a real one where `PARSEABLE_URL`, `PARSEABLE_USERNAME` and
//! `PARSEABLE_PASSWORD` name it. What needs the stand-in's controls says `skipped:` there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adopt;
mod documents;
mod drift;
mod first;
mod lab;
mod policy;
mod restart;
mod sharing;
mod stopped;
mod trouble;
