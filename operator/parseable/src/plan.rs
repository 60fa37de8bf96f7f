//! What is to be done: values in, values out.

pub(crate) mod alert;
pub(crate) mod columns;
pub(crate) mod document;
pub(crate) mod policy;
pub(crate) mod query;
pub(crate) mod target;
