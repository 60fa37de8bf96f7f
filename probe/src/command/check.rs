//! `check`: documents against the language and against a node.

use securitywatch_api::document::Document;

use super::documents::Documents;
use crate::alert;
use crate::capabilities::Support;
use crate::check::node::{Node, NodeError};
use crate::check::{AlertView, DocumentView, HookView, Problem, Report, hook_text};
use crate::cli::{BackendChoice, CheckArgs};
use crate::kernel::{DescribedKernel, KernelError, RunningKernel};
use crate::planner::{self, KernelFacts, Outcome, PlannedHook, Preference};

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// `--capabilities` is no use.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// This node's functions are not known.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Judges every document of every file.
///
/// # Errors
/// The node itself cannot be judged by.
pub fn check(args: &CheckArgs) -> Result<Report, CheckError> {
    match Documents::read(&args.files) {
        Err(problems) => Ok(Report { problems, ..Report::default() }),
        Ok(documents) => {
            let node = Node::choose(args.capabilities.as_deref())?;
            Ok(judge(&documents, &node, preference(args.backend))?)
        }
    }
}

/// Judges documents for `node`.
///
/// # Errors
/// This node's functions cannot be looked up.
pub fn judge(
    documents: &Documents,
    node: &Node,
    prefer: Preference,
) -> Result<Report, KernelError> {
    let kernel = kernel(node, &documents.all)?;
    let mut report = Report { node: node.in_short(), ..Report::default() };
    let capabilities = node.capabilities();
    if let Support::No { reason } = &capabilities.lifecycle {
        // Without type information every load fails with an error number that names nothing.
        let message = match &capabilities.btf {
            Support::No { reason: no_btf } => format!(
                "the probe cannot run here: it needs the kernel's type information (BTF): {no_btf}; boot a \
                 kernel that has it, as every distribution's since 2021 does"
            ),
            Support::Yes => {
                format!("the probe cannot run here: exec and exit are refused: {reason}")
            }
        };
        report.problems.push(Problem {
            file: report.node.clone(),
            position: None,
            path: String::new(),
            message,
        });
    }
    for document in &documents.all {
        if document.suspended {
            report.notes.push(format!("{} is suspended: nothing of it runs", document.title()));
        }
        let hooks = hooks(documents, document, node, prefer, &*kernel, &mut report);
        let alerts = alerts(documents, document, &mut report.problems);
        let (file, title) = (document.file.clone(), document.title());
        report.documents.push(DocumentView { file, title, hooks, alerts });
    }
    report.notes.extend(node.note());
    Ok(report)
}

/// The functions of the node, or the assumption that all exist.
fn kernel(node: &Node, documents: &[Document]) -> Result<Box<dyn KernelFacts>, KernelError> {
    if matches!(node, Node::Described { .. }) {
        return Ok(Box::new(DescribedKernel));
    }
    let functions: Vec<String> = documents
        .iter()
        .filter_map(|document| document.policy.as_ref())
        .flat_map(|policy| &policy.hooks)
        .map(|hook| planner::symbol(&hook.target, std::env::consts::ARCH))
        .collect();
    Ok(Box::new(RunningKernel::inspect(functions.iter().map(String::as_str))?))
}

/// The planner's word for `--backend`.
#[must_use]
pub const fn preference(choice: BackendChoice) -> Preference {
    match choice {
        BackendChoice::Auto => Preference::Auto,
        BackendChoice::Kprobe => Preference::Kprobe,
        BackendChoice::KprobeMulti => Preference::KprobeMulti,
        BackendChoice::Fentry => Preference::Fentry,
    }
}

fn hooks(
    documents: &Documents,
    document: &Document,
    node: &Node,
    prefer: Preference,
    kernel: &dyn KernelFacts,
    report: &mut Report,
) -> Vec<HookView> {
    let Some(policy) = &document.policy else { return Vec::new() };
    let planned = planner::plan(policy, &node.capabilities(), prefer, kernel);
    for hook in &planned {
        let Outcome::Refuse(refusal) = &hook.outcome else { continue };
        let problem = documents.problem(document, &refusal.path, refusal.message.clone());
        if refusal.reason == planner::BACKEND_UNAVAILABLE {
            report.unserved.push((document.title(), problem));
        } else {
            report.problems.push(problem);
        }
    }
    let described = policy.hooks.iter().map(hook_text::describe);
    planned
        .into_iter()
        .zip(described)
        .map(|(hook, summary)| hook_view(hook, node, summary))
        .collect()
}

fn hook_view(planned: PlannedHook, node: &Node, summary: String) -> HookView {
    let (verdict, summary) = match planned.outcome {
        Outcome::Attach { .. } if matches!(node, Node::Untried { .. }) => {
            ("untried".to_owned(), summary)
        }
        Outcome::Attach { backend, .. } => (backend.to_string(), summary),
        Outcome::Skip => (
            "skipped".to_owned(),
            "no such function here; ignore.callNotFound allows it".to_owned(),
        ),
        Outcome::Refuse(refusal) => ("refused".to_owned(), refusal.reason.to_owned()),
    };
    HookView {
        place: last_part(planned.path.as_str()),
        function: planned.function,
        verdict,
        summary,
    }
}

fn alerts(
    documents: &Documents,
    document: &Document,
    problems: &mut Vec<Problem>,
) -> Vec<AlertView> {
    let mut views = Vec::new();
    for alert in &document.alerts {
        match alert::judge(alert) {
            Ok(_) => {
                let mut columns = alert.rule.columns();
                columns.extend(alert.message.columns());
                views.push(AlertView {
                    place: last_part(alert.path.as_str()),
                    name: alert.name.clone(),
                    columns: columns.into_iter().map(str::to_owned).collect(),
                });
            }
            Err(error) => {
                problems.push(documents.problem(document, error.path(), error.problem()));
            }
        }
    }
    views
}

/// `kprobes[0]` of `spec.tracingPolicy.spec.kprobes[0]`.
fn last_part(path: &str) -> String {
    path.rsplit('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
