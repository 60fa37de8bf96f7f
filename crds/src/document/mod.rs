//! Files that a user hands over: watches, TracingPolicies and v1 alert documents, as YAML or JSON.
//!
//! Every mistake is reported with its line, column and field; nothing is skipped.

mod error;
mod kubernetes;
mod node;
mod schema;
mod v1_alerts;

#[cfg(test)]
mod tests;

use std::fmt;

pub use error::{DocumentError, DocumentErrors};
pub use node::Position;

use crate::field::{FieldError, FieldPath};
use crate::policy::Policy;
use crate::watch::{Alert, Parseable};
use error::Report;
use node::{Content, Node};

/// One document of a file, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The file's name as it was given.
    pub file: String,
    /// Where the document begins.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// `metadata.name`; of a v1 alert document, which has none, the file's name without its ending.
    pub name: String,
    /// `metadata.namespace`, where the kind has one and the document says it.
    pub namespace: Option<String>,
    /// What to hook; `None`: only exec and exit events.
    pub policy: Option<Policy>,
    /// Where events go.
    pub parseable: Option<Parseable>,
    /// Rules over the events.
    pub alerts: Vec<Alert>,
    /// `spec.suspend: true`: nothing of this is to run.
    pub suspended: bool,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A watch of one namespace's pods.
    SecurityWatch,
    /// A watch of everything.
    ClusterSecurityWatch,
    /// Tetragon's cluster-wide policy.
    TracingPolicy,
    /// Tetragon's policy for one namespace.
    TracingPolicyNamespaced,
    /// `{"version": "v1", "alerts": [...]}`.
    AlertsV1,
}

impl Kind {
    /// The kind's word in a document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecurityWatch => "SecurityWatch",
            Self::ClusterSecurityWatch => "ClusterSecurityWatch",
            Self::TracingPolicy => "TracingPolicy",
            Self::TracingPolicyNamespaced => "TracingPolicyNamespaced",
            Self::AlertsV1 => "v1 alerts",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Document {
    /// `SecurityWatch/shop/egress`, or without the namespace.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.kind, self.name),
            None => format!("{}/{}", self.kind, self.name),
        }
    }
}

/// Every document of one file. `file_name` is used in messages only.
///
/// # Errors
/// Everything that is wrong or not supported in the file.
pub fn load(file_name: &str, text: &str) -> Result<Vec<Document>, DocumentErrors> {
    load_all([(file_name, text)])
}

/// Every document of several files, each given by its name and its text.
///
/// # Errors
/// Everything that is wrong or not supported in any of them, two documents of one name included.
pub fn load_all<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Document>, DocumentErrors> {
    let mut documents: Vec<Document> = Vec::new();
    let mut errors = Vec::new();
    for (file_name, text) in files {
        let mut report = Report::new(file_name);
        let loaded = load_file(file_name, text, &documents, &mut report);
        match report.into_result(loaded) {
            Ok(loaded) => documents.extend(loaded),
            Err(found) => errors.extend(found.errors),
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(DocumentErrors { errors }) }
}

/// Where `path` stands in the file `text`, of which `document` is a part: for what turns out to be wrong
/// only on a node. The document's beginning, if the text is not the one it was loaded from.
#[must_use]
pub fn locate(text: &str, document: &Document, path: &FieldPath) -> Position {
    let (nodes, _) = node::parse(text);
    let found = nodes.iter().find(|node| node.position == document.position);
    found.map_or(document.position, |node| node.locate(path))
}

fn load_file(
    file_name: &str,
    text: &str,
    earlier: &[Document],
    report: &mut Report,
) -> Vec<Document> {
    let (nodes, syntax_error) = node::parse(text);
    let mut loaded: Vec<Document> = Vec::new();
    for node in &nodes {
        let Some(document) = load_node(file_name, node, report) else {
            continue;
        };
        let twin = earlier.iter().chain(&loaded).find(|other| {
            (other.kind, &other.name, &other.namespace)
                == (document.kind, &document.name, &document.namespace)
        });
        if let Some(twin) = twin {
            let path = FieldPath::root().field("metadata").field("name");
            let Position { line, .. } = twin.position;
            let message = format!(
                "{} was defined before, at {}:{line}: rename or remove one",
                document.title(),
                twin.file
            );
            report.add(node.locate(&path), &path, message);
        }
        loaded.push(document);
    }
    match syntax_error {
        Some((position, message)) => report.add(position, &FieldPath::root(), message),
        None if nodes.is_empty() => report.add(
            Position::START,
            &FieldPath::root(),
            "the file holds no document: write a SecurityWatch, a ClusterSecurityWatch or a TracingPolicy",
        ),
        None => {}
    }
    loaded
}

fn load_node(file_name: &str, node: &Node, report: &mut Report) -> Option<Document> {
    match &node.content {
        Content::Map(_) if v1_alerts::is_one(node) => v1_alerts::load(file_name, node, report),
        Content::Map(_) => kubernetes::load(file_name, node, report),
        _ => {
            let message = "a document is a map with apiVersion, kind, metadata and spec";
            report.add(node.position, &FieldPath::root(), message);
            None
        }
    }
}

/// Puts the errors of a check at their places in the file.
fn place(node: &Node, errors: Vec<FieldError>, report: &mut Report) {
    for error in errors {
        report.add(node.locate(&error.path), &error.path, error.message);
    }
}

/// Turns the JSON of `node`, which stands at `path` and has passed the schema, into a type.
///
/// What the schema let pass and the type does not take is a gap between the two; it is reported like
/// any other mistake.
fn read<T: serde::de::DeserializeOwned>(
    node: &Node,
    path: &FieldPath,
    report: &mut Report,
) -> Option<T> {
    match serde_path_to_error::deserialize(node.to_json()) {
        Ok(value) => Some(value),
        Err(error) => {
            let inner = error.path().to_string();
            let path = if inner == "." { path.clone() } else { path.field(&inner) };
            report.add(node.position, &path, error.inner().to_string());
            None
        }
    }
}
