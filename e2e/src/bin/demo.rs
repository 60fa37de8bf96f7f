//! `make demo`: both walk-throughs on a real kernel, from the system call to the webhook.

use std::process::ExitCode;

fn main() -> ExitCode {
    match securitywatch_e2e::demo::run() {
        Ok(failed) => ExitCode::from(u8::from(failed)),
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
