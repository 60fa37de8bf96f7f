//! `capabilities`: what this kernel lets a probe do.

use crate::capabilities::Capabilities;
use crate::capabilities::text::Table;
use crate::cli::{CapabilitiesArgs, CapabilitiesOutput};
use crate::privileges;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CapabilitiesError {
    /// Every trial would be refused, whatever the kernel can do.
    #[error("cannot try what this kernel allows without {}: run it as root, for example with sudo", .0.join(" and "))]
    Privileges(Vec<&'static str>),
    /// Never on a sound build.
    #[error("cannot write the capabilities as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The text for standard output.
///
/// # Errors
/// The rights to try anything are missing.
pub fn capabilities(args: &CapabilitiesArgs) -> Result<String, CapabilitiesError> {
    let missing = privileges::missing();
    if !missing.is_empty() {
        return Err(CapabilitiesError::Privileges(missing));
    }
    let node = Capabilities::detect();
    Ok(match args.output {
        CapabilitiesOutput::Text => Table(&node).to_string(),
        CapabilitiesOutput::Json => serde_json::to_string_pretty(&node)? + "\n",
    })
}
