//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod agent;
mod event_log;

pub use agent::AgentArgs;
pub use event_log::EventLogArgs;

/// Watches a Linux machine from inside its kernel, as a SecurityWatch or a TracingPolicy says.
///
/// Events are Tetragon's, field for field. They are shown here, written to a log, shipped to a Parseable
/// stream and held against alert rules: whatever the documents and the options ask for.
#[derive(Debug, Parser)]
#[command(
    name = "securitywatch-probe",
    version,
    propagate_version = true,
    max_term_width = 110,
    after_help = EXIT_CODES,
    after_long_help = LONG_HELP
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 refused or failed (the message says why), 2 wrong usage";

const LONG_HELP: &str = "\
Examples:
  See every process that starts and ends on this machine:
      securitywatch-probe run
  Run a watch as it stands; its Secrets are files of DIR/NAME/KEY:
      securitywatch-probe run -f egress.yaml --secrets /etc/securitywatch/secrets
  Know before a roll-out whether a policy works on a Debian 12 node:
      securitywatch-probe check -f policy.yaml --capabilities debian-12
  Be the probe of a cluster's node, from outside a pod:
      KUBECONFIG=admin.conf securitywatch-probe agent --node-name worker-1 --ingest-credentials DIR
  Know what a policy may ask of this machine:
      sudo securitywatch-probe capabilities

Exit codes:
  0  done; for `check`: every document is accepted
  1  refused or failed; the message names the field or the cause, and what to do
  2  wrong usage

Environment:
  NODE_NAME  the node's name in events, unless --node-name is given; else the host name
  KUBECONFIG how `agent` finds the API server, unless it runs in a pod
  NO_COLOR   no colours, unless --color is given
  RUST_LOG   what is logged to standard error, for example debug; info without it";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine until Ctrl-C or SIGTERM
    ///
    /// Needs root, or the capabilities BPF and PERFMON, and SYS_PTRACE to know the processes that are
    /// there already. If one document is refused nothing starts. SIGHUP reads the files again and exchanges
    /// changed policies without a gap. On stop it says what was seen, shipped, alerted and dropped.
    Run(Box<RunArgs>),
    /// Watch this node of a Kubernetes cluster, as the cluster's SecurityWatch objects say
    ///
    /// Meant for a pod on each node; needs the rights of `run`. Watches come, change and go while it runs, and
    /// one that cannot run harms no other. What became of each is in the object SecurityWatchNode of this node:
    /// kubectl describe securitywatchnode NODE
    Agent(Box<AgentArgs>),
    /// Say whether documents are valid and how each hook would be served
    ///
    /// Every mistake is shown with its line, its field and what to do. Needs no root, but without it the
    /// kernel cannot be tried, and the backends stay open.
    Check(CheckArgs),
    /// Say what this kernel lets a probe do
    ///
    /// Each line is found by loading and attaching a harmless program, so it needs the rights of `run`.
    Capabilities(CapabilitiesArgs),
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES, after_long_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// YAML of SecurityWatch, ClusterSecurityWatch or cilium.io TracingPolicy documents; repeat for more.
    /// Without it only process starts and ends are shown
    #[arg(short = 'f', long = "file", value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,

    /// What standard output shows
    #[arg(long, value_enum, default_value_t = Output::Compact)]
    pub output: Output,

    /// Start each compact line with the event's time
    #[arg(long)]
    pub timestamps: bool,

    /// Colours in compact output; auto: on a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorWhen::Auto)]
    pub color: ColorWhen,

    #[command(flatten)]
    pub event_log: EventLogArgs,

    /// Where the documents' Secrets are: key KEY of Secret NAME is the file DIR/NAME/KEY
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,

    /// This node's name in events
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Serve Prometheus metrics at http://ADDR/metrics, for example 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// Create this file once every hook is attached; removed at the end
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// How kernel functions are hooked; auto: the cheapest way this kernel has
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
}

const RUN_EXAMPLES: &str = "\
Examples:
  securitywatch-probe run -f config/samples/egress.yaml --secrets secrets
  securitywatch-probe run -f a.yaml -f b.yaml --output json | jq -c .process_exec.process.binary
  securitywatch-probe run -f a.yaml --output none --event-log /var/log/securitywatch/events.log";

/// `check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES, after_long_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The documents; repeat for more
    #[arg(short = 'f', long = "file", value_name = "FILE", num_args = 1.., required = true)]
    pub files: Vec<PathBuf>,

    /// Judge for another node: a file made there by `capabilities --output json`, or one of debian-11,
    /// debian-12, debian-13, no-trampolines
    #[arg(long, value_name = "FILE|NAME")]
    pub capabilities: Option<String>,

    /// How kernel functions are to be hooked, as for `run`
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  securitywatch-probe check -f config/samples/egress.yaml
  sudo securitywatch-probe check -f policy.yaml
  securitywatch-probe check -f policy.yaml --capabilities no-trampolines";

/// `capabilities`
#[derive(Debug, Args)]
pub struct CapabilitiesArgs {
    /// For people, or for `check --capabilities FILE`
    #[arg(long, value_enum, default_value_t = CapabilitiesOutput::Text)]
    pub output: CapabilitiesOutput,
}

/// `run --output`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One short line an event
    Compact,
    /// Tetragon's JSON, one object a line
    Json,
    /// Nothing
    None,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl ColorWhen {
    /// Whether to colour, given whether standard output is a terminal and what `NO_COLOR` says
    /// (set and not empty: no colours, <https://no-color.org>).
    #[must_use]
    pub fn colors(self, is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
        match self {
            Self::Auto => is_terminal && no_color.is_none_or(std::ffi::OsStr::is_empty),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// `--backend`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum BackendChoice {
    Auto,
    Kprobe,
    KprobeMulti,
    Fentry,
}

/// `capabilities --output`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum CapabilitiesOutput {
    Text,
    Json,
}

/// The node's name in events: the option, else `NODE_NAME`, else the host name.
#[must_use]
pub fn node_name(option: Option<String>, environment: Option<String>, host: &str) -> String {
    option
        .into_iter()
        .chain(environment)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::ffi::OsStr;

    use clap::CommandFactory as _;

    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, String> {
        let words = ["securitywatch-probe", "run"].iter().chain(args);
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Run(run) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_has_tetragons_defaults() {
        let args = run(&["-f", "a.yaml", "b.yaml", "-f", "c.yaml"]).unwrap();
        assert_eq!(args.files, ["a.yaml", "b.yaml", "c.yaml"].map(PathBuf::from));
        assert!(args.event_log.options().is_none());
        let log = run(&["--event-log", "e.log"]).unwrap().event_log.options().unwrap();
        assert_eq!((log.max_size_bytes, log.max_files), (10_000_000, 5));
        assert_eq!((args.output, args.backend), (Output::Compact, BackendChoice::Auto));
    }

    #[test]
    fn mistakes_say_what_to_use() {
        assert!(run(&["--event-log", "-"]).unwrap_err().contains("use --output json"));
        assert!(
            run(&["--output", "yaml"])
                .unwrap_err()
                .contains("[possible values: compact, json, none]")
        );
        assert!(run(&["--event-log-max-size-mb", "0"]).unwrap_err().contains("1..=1000000"));
        assert!(run(&["--metrics-addr", "9464"]).unwrap_err().contains("invalid socket address"));
        let error = Cli::try_parse_from(["securitywatch-probe", "check"]).unwrap_err().to_string();
        assert!(error.contains("--file <FILE>"), "{error}");
    }

    #[test]
    fn help_shows_examples_and_exit_codes() {
        let help = |command: &[&str]| {
            let words = ["securitywatch-probe"].iter().chain(command).chain(&["--help"]);
            Cli::try_parse_from(words).unwrap_err().to_string()
        };
        for part in ["run -f egress.yaml", "Exit codes:", "NODE_NAME", "capabilities"] {
            assert!(help(&[]).contains(part), "{part}");
        }
        assert!(help(&["run"]).contains("--output none --event-log"));
        assert!(help(&["check"]).contains("--capabilities no-trampolines"));
        for part in ["UID.apiKey", "SecurityWatchNode", "/readyz", "KUBECONFIG", "Parseable"] {
            assert!(help(&["agent"]).contains(part), "{part}");
        }
    }

    #[test]
    fn colors_only_where_they_are_wanted() {
        let none = None;
        let set = Some(OsStr::new("1"));
        assert!(ColorWhen::Auto.colors(true, none));
        assert!(ColorWhen::Auto.colors(true, Some(OsStr::new(""))));
        assert!(!ColorWhen::Auto.colors(true, set));
        assert!(!ColorWhen::Auto.colors(false, none));
        assert!(ColorWhen::Always.colors(false, set));
        assert!(!ColorWhen::Never.colors(true, none));
    }

    #[test]
    fn the_node_has_the_first_name_that_is_given() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(node_name(some("a"), some("b"), "c"), "a");
        assert_eq!(node_name(None, some("b"), "c"), "b");
        assert_eq!(node_name(None, some(""), "c"), "c");
    }
}
