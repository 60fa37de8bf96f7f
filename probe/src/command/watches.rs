//! The policies of files in the kernel, and what a second reading of the files changes.

use std::collections::HashMap;
use std::path::PathBuf;

use super::alone;
use super::check::judge;
use super::documents::Documents;
use super::run::RunError;
use crate::check::node::Node;
use crate::check::{Problem, Report};
use crate::planner::Preference;
use crate::policy::PolicySet;
use securitywatch_api::document::Document;
use securitywatch_api::policy::Policy;

/// The files, and what of them is loaded.
pub(super) struct Watches {
    files: Vec<PathBuf>,
    node: Node,
    prefer: Preference,
    /// By title: the place in the outputs, and the policy as loaded.
    known: HashMap<String, (usize, Option<Policy>)>,
}

impl Watches {
    pub(super) fn new(files: Vec<PathBuf>, node: Node, prefer: Preference) -> Self {
        Self { files, node, prefer, known: HashMap::new() }
    }

    /// Loads every policy that this node can serve, in the order of the documents, which is that of the outputs.
    ///
    /// # Errors
    /// The first policy that the kernel does not take.
    pub(super) fn load(
        &mut self,
        set: &mut PolicySet,
        documents: &Documents,
        report: &Report,
    ) -> Result<(), RunError> {
        for (watch, document) in documents.all.iter().enumerate() {
            let title = document.title();
            let policy = wanted(document, report);
            if let Some(policy) = &policy {
                set.apply(&title, policy, watch)
                    .map_err(|source| RunError::Apply { title: title.clone(), source })?;
            }
            self.known.insert(title, (watch, policy));
        }
        Ok(())
    }

    /// The files as they are now, or everything that is wrong with them.
    fn read_again(&self) -> Result<(Documents, Report), Vec<String>> {
        let told = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
        let documents = Documents::read(&self.files).map_err(told)?;
        let mut report =
            judge(&documents, &self.node, self.prefer).map_err(|error| vec![error.to_string()])?;
        report.problems.extend(alone::refuse(&documents));
        match std::mem::take(&mut report.problems) {
            problems if problems.is_empty() => Ok((documents, report)),
            problems => Err(told(problems)),
        }
    }

    /// Reads the files again and exchanges the policies that changed, without a gap. Anything wrong leaves
    /// everything as it was. Targets and alerts are those of the start.
    pub(super) fn reload(&mut self, set: &mut PolicySet) {
        let (documents, report) = match self.read_again() {
            Ok(read) => read,
            Err(problems) => {
                for problem in problems {
                    tracing::error!(%problem, "The files are not loaded again");
                }
                return;
            }
        };
        for document in &documents.all {
            let title = document.title();
            let wanted = wanted(document, &report);
            let Some((watch, loaded)) = self.known.get_mut(&title) else {
                tracing::warn!(
                    document = title,
                    "A document that was not there at the start needs a restart"
                );
                continue;
            };
            if *loaded == wanted {
                continue;
            }
            let done = match &wanted {
                Some(policy) => set.apply(&title, policy, *watch).map(|_| ()),
                None => set.remove(&title),
            };
            match done {
                Ok(()) => {
                    tracing::info!(document = title, "Policy exchanged");
                    *loaded = wanted;
                }
                Err(error) => {
                    tracing::error!(document = title, %error, "Policy not exchanged; the old one stays")
                }
            }
        }
        for (title, (_, loaded)) in &mut self.known {
            let gone =
                loaded.is_some() && documents.all.iter().all(|document| document.title() != *title);
            if gone && set.remove(title).is_ok() {
                tracing::info!(document = title, "Policy removed");
                *loaded = None;
            }
        }
    }
}

/// The policy that is to run of a document.
fn wanted(document: &Document, report: &Report) -> Option<Policy> {
    document.policy.clone().filter(|_| !document.suspended && report.is_served(&document.title()))
}
