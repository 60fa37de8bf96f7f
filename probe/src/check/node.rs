//! The node that documents are judged for: this one, another one by its description, or this one as far
//! as it can be seen without rights.

use std::path::Path;

use crate::capabilities::text::in_short;
use crate::capabilities::{Capabilities, Support};
use crate::privileges;

/// Nodes that come with the probe, as `capabilities --output json` shows such nodes: Debian's cloud kernels
/// with their own command line, and a host whose kernel has no kprobes and takes no trampolines.
const DESCRIBED: [(&str, &str); 4] = [
    ("debian-11", include_str!("nodes/debian-11.json")),
    ("debian-12", include_str!("nodes/debian-12.json")),
    ("debian-13", include_str!("nodes/debian-13.json")),
    ("no-trampolines", include_str!("nodes/no-trampolines.json")),
];

/// For whom documents are judged.
#[derive(Debug)]
pub enum Node {
    /// This node, by trial.
    Tried(Capabilities),
    /// A node known by its description: its functions are taken to exist.
    Described {
        /// As given on the command line.
        name: String,
        /// What it can do.
        capabilities: Capabilities,
    },
    /// This node without the rights to try anything: only its functions are known.
    Untried {
        /// The rights that are missing.
        missing: Vec<&'static str>,
    },
}

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Neither a name nor a file.
    #[error(
        "--capabilities {name}: cannot read the file: {source}; write it on the node with `securitywatch-probe capabilities --output json`, or use one of {}",
        names().join(", ")
    )]
    Unreadable {
        /// As given.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not what `capabilities --output json` writes.
    #[error(
        "--capabilities {name}: {source}; write it on the node with `securitywatch-probe capabilities --output json`"
    )]
    Malformed {
        /// As given.
        name: String,
        /// Line and column, and what was expected.
        source: serde_json::Error,
    },
}

/// The names that `--capabilities` knows.
#[must_use]
pub fn names() -> Vec<&'static str> {
    DESCRIBED.iter().map(|(name, _)| *name).collect()
}

impl Node {
    /// The node that `--capabilities` describes, or this one.
    ///
    /// # Errors
    /// The description is not there or not readable.
    pub fn choose(described: Option<&str>) -> Result<Self, NodeError> {
        if let Some(name) = described {
            return Self::described(name);
        }
        let missing = privileges::missing();
        Ok(if missing.is_empty() {
            Self::Tried(Capabilities::detect())
        } else {
            Self::Untried { missing }
        })
    }

    fn described(name: &str) -> Result<Self, NodeError> {
        let known =
            DESCRIBED.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned());
        let text = match known {
            Some(text) => text,
            None => std::fs::read_to_string(Path::new(name))
                .map_err(|source| NodeError::Unreadable { name: name.to_owned(), source })?,
        };
        let capabilities = serde_json::from_str(&text)
            .map_err(|source| NodeError::Malformed { name: name.to_owned(), source })?;
        Ok(Self::Described { name: name.to_owned(), capabilities })
    }

    /// What to plan with. Without a trial everything is taken to work, so that what remains are the
    /// refusals that no right would mend.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Tried(capabilities) | Self::Described { capabilities, .. } => {
                capabilities.clone()
            }
            Self::Untried { .. } => Capabilities {
                kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
                btf: Support::Yes,
                lockdown: String::new(),
                cgroup: String::new(),
                lifecycle: Support::Yes,
                kprobe: Support::Yes,
                kprobe_multi: Support::Yes,
                fentry: Support::Yes,
                preemption: false,
                lsm: Support::Yes,
                fmod_ret: Support::Yes,
                raw_syscalls: Support::Yes,
                uprobe: Support::Yes,
            },
        }
    }

    /// For the last line of a report.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Tried(capabilities) => format!("this node ({})", in_short(capabilities)),
            Self::Described { name, capabilities } => {
                format!("{name} ({})", in_short(capabilities))
            }
            Self::Untried { .. } => {
                format!(
                    "this node ({}, backends not tried)",
                    rustix::system::uname().release().to_string_lossy()
                )
            }
        }
    }

    /// What could not be judged, and what would help.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Tried(_) => None,
            Self::Described { name, .. } => {
                Some(format!("whether the functions exist on {name} is only known on the node"))
            }
            Self::Untried { missing } => Some(format!(
                "the backends were not tried, that needs {}: run check as root, or give --capabilities",
                missing.join(" and ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_named_node_can_be_read() {
        for name in names() {
            let node = Node::choose(Some(name)).unwrap();
            assert!(node.in_short().starts_with(&format!("{name} (")), "{}", node.in_short());
            assert!(node.capabilities().lifecycle.is_yes());
        }
    }

    #[test]
    fn a_file_describes_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.json");
        let full = Node::Untried { missing: vec![] }.capabilities();
        let text =
            serde_json::to_string(&Capabilities { kernel: "5.10.0".into(), ..full }).unwrap();
        std::fs::write(&path, &text).unwrap();
        let node = Node::choose(path.to_str()).unwrap();
        assert!(
            node.in_short().ends_with("(5.10.0, BTF, fentry, kprobe, LSM)"),
            "{}",
            node.in_short()
        );

        std::fs::write(&path, text.replace("kernel", "colonel")).unwrap();
        let error = Node::choose(path.to_str()).unwrap_err().to_string();
        assert!(
            error.contains("unknown field `colonel`") && error.contains("--output json"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = Node::choose(Some("debian-1")).unwrap_err().to_string();
        assert!(error.contains("no-trampolines"), "{error}");
    }
}
