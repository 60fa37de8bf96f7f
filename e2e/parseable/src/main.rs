//! The stand-in as a program, for clients that are not Rust tests.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use parseable_standin::{Config, Credentials, Standin};

/// Answers as a real Parseable was recorded to: health, streams, ingest and queries, all in memory.
///
/// It prints `listening on http://ADDRESS` when it is ready and ends on SIGINT. Beside the API:
///
///   GET    /standin/requests   what came in: connections, bytes on the wire, events, rows
///   DELETE /standin/requests   counts from zero
///   POST   /standin/faults     {"ingests":3,"kind":"status","status":503,"text":"..."}; other kinds: reset,
///                              close, drop_mid_body, store_then_close, delay (with "ms")
///   DELETE /standin/faults     everything works again
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// User that may come in.
    #[arg(long, default_value = "admin")]
    username: String,
    /// Its password.
    #[arg(long, default_value = "admin")]
    password: String,
    /// Key that may come in by X-API-KEY.
    #[arg(long)]
    api_key: Option<String>,
    /// Only count what is ingested: no columns, nothing to query. For measuring a client.
    #[arg(long)]
    sink: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let config = Config {
        listen: arguments.listen,
        credentials: Credentials {
            username: arguments.username,
            password: arguments.password,
            api_key: arguments.api_key,
        },
        sink: arguments.sink,
        ..Config::default()
    };
    let standin = match Standin::start(config).await {
        Ok(standin) => standin,
        Err(error) => {
            eprintln!("parseable-standin: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {}", standin.url);
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parseable-standin: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}
