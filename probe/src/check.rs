//! What `check` says of documents: each hook with its backend or the reason against it, each alert, and
//! every mistake with its line and what to do. Text from values; reading files and trying kernels is
//! done by others.

use std::fmt;

use hook_text::counted;

pub mod hook_text;
pub mod node;

/// Everything `check` found out.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the files.
    pub documents: Vec<DocumentView>,
    /// What stands against accepting them.
    pub problems: Vec<Problem>,
    /// What this node has no way to serve though nothing is wrong with it, by the document's title.
    pub unserved: Vec<(String, Problem)>,
    /// For whom it was judged, for example `this node (6.12.107, BTF, fentry, kprobe, LSM)`.
    pub node: String,
    /// What could not be judged, and what to do about it.
    pub notes: Vec<String>,
}

/// One document.
#[derive(Debug)]
pub struct DocumentView {
    /// As given on the command line.
    pub file: String,
    /// `ClusterSecurityWatch/egress`
    pub title: String,
    /// In the order of the document.
    pub hooks: Vec<HookView>,
    /// In the order of the document.
    pub alerts: Vec<AlertView>,
}

/// One hook.
#[derive(Debug)]
pub struct HookView {
    /// `kprobes[0]`
    pub place: String,
    /// The kernel function.
    pub function: String,
    /// What becomes of it on the node: a backend, `refused`, `skipped` or `untried`.
    pub verdict: String,
    /// See [`hook_text::describe`].
    pub summary: String,
}

/// One alert whose rule and message are valid.
#[derive(Debug)]
pub struct AlertView {
    /// `alerts[0]`
    pub place: String,
    /// Its name.
    pub name: String,
    /// The columns that rule and message need.
    pub columns: Vec<String>,
}

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As given on the command line.
    pub file: String,
    /// Line and column from 1, where known.
    pub position: Option<(usize, usize)>,
    /// The field; empty for the document or the file as a whole.
    pub path: String,
    /// What is wrong and how to mend it; a few lines where it shows the place.
    pub message: String,
}

impl Report {
    /// Whether something stands against the documents.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.errors() > 0
    }

    /// Whether the policy of the document of that title can be loaded here.
    #[must_use]
    pub fn is_served(&self, title: &str) -> bool {
        self.unserved.iter().all(|(unserved, _)| unserved != title)
    }

    fn errors(&self) -> usize {
        self.problems.len() + self.unserved.len()
    }

    /// `1 hook, 2 alerts`
    fn counts(&self) -> String {
        let hooks = self.documents.iter().map(|document| document.hooks.len()).sum();
        let alerts = self.documents.iter().map(|document| document.alerts.len()).sum();
        format!("{}, {}", counted(hooks, "hook"), counted(alerts, "alert"))
    }

    /// Widths of the columns that name hooks and alerts, over all documents.
    fn widths(&self) -> Widths {
        let hooks = || self.documents.iter().flat_map(|document| &document.hooks);
        let alerts = || self.documents.iter().flat_map(|document| &document.alerts);
        Widths {
            place: widest(
                hooks().map(|hook| &hook.place).chain(alerts().map(|alert| &alert.place)),
                10,
            ),
            name: widest(
                hooks().map(|hook| &hook.function).chain(alerts().map(|alert| &alert.name)),
                22,
            ),
            verdict: widest(hooks().map(|hook| &hook.verdict), 10),
        }
    }
}

struct Widths {
    place: usize,
    name: usize,
    verdict: usize,
}

fn widest<'a>(texts: impl Iterator<Item = &'a String>, at_least: usize) -> usize {
    texts.map(|text| text.chars().count()).fold(at_least, usize::max)
}

impl fmt::Display for Report {
    /// The whole report, every line ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for document in &self.documents {
            document.write(f, &widths)?;
        }
        for problem in self.problems.iter().chain(self.unserved.iter().map(|(_, problem)| problem))
        {
            write!(f, "{problem}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.is_refused() {
            writeln!(f, "refused: {}", counted(self.errors(), "error"))
        } else {
            writeln!(f, "ok: {}, {}", self.counts(), self.node)
        }
    }
}

impl DocumentView {
    fn write(&self, f: &mut fmt::Formatter<'_>, widths: &Widths) -> fmt::Result {
        let &Widths { place, name, verdict } = widths;
        writeln!(f, "{}  {}", self.file, self.title)?;
        for hook in &self.hooks {
            writeln!(
                f,
                "  {:<place$} {:<name$} {:<verdict$} {}",
                hook.place, hook.function, hook.verdict, hook.summary
            )?;
        }
        for alert in &self.alerts {
            writeln!(
                f,
                "  {:<place$} {:<name$} matcher ok, SQL ok   columns {}",
                alert.place,
                alert.name,
                alert.columns.join(", ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    /// The place on one line, message and source below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, "  {}", self.path)?;
        }
        f.write_str("\n")?;
        for line in self.message.lines() {
            writeln!(f, "   {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress() -> DocumentView {
        DocumentView {
            file: "egress.yaml".into(),
            title: "ClusterSecurityWatch/egress".into(),
            hooks: vec![HookView {
                place: "kprobes[0]".into(),
                function: "tcp_connect".into(),
                verdict: "fentry".into(),
                summary: "args sock   1 selector: NotDAddr 4 networks (v4 and v6)".into(),
            }],
            alerts: vec![AlertView {
                place: "alerts[0]".into(),
                name: "wget_command".into(),
                columns: vec![
                    "process_exec_process_binary".into(),
                    "process_exec_process_pod_name".into(),
                ],
            }],
        }
    }

    #[test]
    fn accepted() {
        let report = Report {
            documents: vec![egress()],
            node: "this node (6.12.107, BTF, fentry, kprobe, LSM)".into(),
            notes: vec!["n".into()],
            ..Report::default()
        };
        assert!(!report.is_refused());
        assert_eq!(
            report.to_string(),
            "\
egress.yaml  ClusterSecurityWatch/egress
  kprobes[0] tcp_connect            fentry     args sock   1 selector: NotDAddr 4 networks (v4 and v6)
  alerts[0]  wget_command           matcher ok, SQL ok   columns process_exec_process_binary, process_exec_process_pod_name
note: n
ok: 1 hook, 1 alert, this node (6.12.107, BTF, fentry, kprobe, LSM)
"
        );
    }

    #[test]
    fn refused() {
        let problem = |position, path: &str, message: &str| Problem {
            file: "egress.yaml".into(),
            position,
            path: path.into(),
            message: message.into(),
        };
        let network = problem(
            Some((14, 19)),
            "spec.kprobes[0].selectors[0].matchArgs[0].values[1]",
            "\"${PODCIDR}\" is not a network: replace the placeholder, for example with 10.244.0.0/16",
        );
        let rule = problem(
            Some((31, 15)),
            "spec.alerts[0].rule",
            "column 29: expected one of = !=, found \"=~\"\nprocess_exec_process_binary =~ \"x\"\n                            ^^",
        );
        let whole = problem(None, "", "cannot be read: No such file or directory");
        let report = Report { problems: vec![network, rule, whole], ..Report::default() };
        assert!(report.is_refused());
        assert_eq!(
            report.to_string(),
            "\
egress.yaml:14:19  spec.kprobes[0].selectors[0].matchArgs[0].values[1]
   \"${PODCIDR}\" is not a network: replace the placeholder, for example with 10.244.0.0/16
egress.yaml:31:15  spec.alerts[0].rule
   column 29: expected one of = !=, found \"=~\"
   process_exec_process_binary =~ \"x\"
                               ^^
egress.yaml
   cannot be read: No such file or directory
refused: 3 errors
"
        );
    }
}
