//! The commands behind the command line: files, kernel and terminal meet here.

pub mod agent;
mod alone;
pub mod capabilities;
pub mod check;
pub mod documents;
mod reader;
pub mod run;
mod sensing;
mod watches;
