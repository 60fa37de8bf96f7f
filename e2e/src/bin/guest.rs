//! Runs a command in a guest: `guest --kernel 6.12 --program target/debug/securitywatch-probe=/bin/probe -- probe capabilities`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use securitywatch_e2e::guest::{Clock, Console, Guest, Kernel, Rootfs};

/// Boots a kernel in QEMU, runs a command and ends with its exit code.
///
/// What the command leaves in /out comes back into --out.
#[derive(Debug, Parser)]
struct Arguments {
    /// 6.1 or 6.12
    #[arg(long, default_value = "6.1")]
    kernel: Kernel,
    /// minimal (busybox) or golden (Debian with curl, wget, ...)
    #[arg(long, default_value = "minimal")]
    rootfs: Rootfs,
    /// A file to take along, HOST=GUEST; keeps its executable bit
    #[arg(long, value_name = "HOST=GUEST")]
    file: Vec<String>,
    /// A program to take along with the libraries it links, HOST=GUEST
    #[arg(long, value_name = "HOST=GUEST")]
    program: Vec<String>,
    /// Folder for the files of /out
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, default_value_t = 1024)]
    memory_mib: u32,
    #[arg(long, default_value_t = 2)]
    cpus: u8,
    /// Let the clock count instructions, 2^SHIFT nanoseconds each, on one CPU
    #[arg(long, value_name = "SHIFT")]
    icount: Option<u8>,
    /// A network card: this machine's loop-back servers are at 10.96.0.2
    #[arg(long)]
    network: bool,
    /// More words for the kernel's command line
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    kernel_args: String,
    /// Real seconds until the guest is ended
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
    /// The command, for the guest's shell
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("guest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Box<dyn std::error::Error>> {
    let mut guest = Guest::new(arguments.kernel, arguments.rootfs, arguments.command.join(" "));
    for pair in &arguments.file {
        let (from, to) = pair_of(pair)?;
        let executable =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(from)?.permissions()) & 0o111
                != 0;
        guest = guest.file(to, fs::read(from)?, if executable { 0o755 } else { 0o644 });
    }
    for pair in &arguments.program {
        let (from, to) = pair_of(pair)?;
        guest = guest.program(from, to);
    }
    guest.memory_mib = arguments.memory_mib;
    guest.clock = arguments
        .icount
        .map_or(Clock::Real { cpus: arguments.cpus }, |shift| Clock::Instructions { shift });
    guest.network = arguments.network;
    guest.kernel_args.clone_from(&arguments.kernel_args);
    guest.timeout = Duration::from_secs(arguments.timeout_seconds);
    guest.console = Console::Shown;

    let outcome = guest.run()?;
    eprintln!(
        "guest: exit code {} after {:.1} s",
        outcome.exit_code,
        outcome.elapsed.as_secs_f64()
    );
    if let Some(folder) = &arguments.out {
        for (name, content) in &outcome.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, content)?;
        }
    }
    Ok(u8::try_from(outcome.exit_code).unwrap_or(1))
}

fn pair_of(pair: &str) -> Result<(&str, &str), String> {
    pair.split_once('=')
        .filter(|(_, to)| to.starts_with('/'))
        .ok_or_else(|| format!("{pair:?} is not HOST=/GUEST/PATH"))
}
