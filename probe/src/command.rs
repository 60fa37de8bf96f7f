//! The commands behind the command line: files, kernel and terminal meet here.

pub mod capabilities;
pub mod check;
pub mod documents;
pub mod run;
mod watches;
