//! Events to text: Tetragon's JSON line and its compact view. Pure: values in, bytes out.

pub mod compact;
pub mod flatten;
pub mod json;
pub mod names;
pub mod rfc3339;

#[cfg(test)]
pub(crate) mod recorded;
