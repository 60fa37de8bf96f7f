//! The stand-in as a program, for clients that are not Rust tests.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use parseable_standin::{Config, Credentials, Generation, Standin};

/// A stand-in for a Parseable server, for tests: it answers as a real one was recorded to.
///
/// Health, accounts, streams, ingest, queries, targets with the outbound policy, alerts (evaluated
/// and delivered over plain HTTP) and dashboards, all in memory. It prints
/// `listening on http://ADDRESS` when it is ready and ends on SIGINT. Beside the API:
///
///   GET    /standin/requests     connections, bytes, events, rows, requests by route
///   DELETE /standin/requests     counts from zero
///   GET    /standin/state        what is stored, with the targets' secrets in clear
///   GET    /standin/deliveries   calls to targets
///   POST   /standin/faults       {"ingests":3,"kind":"status","status":503,"text":"..."}
///                                {"pattern":"* /api/v1/alerts*","requests":3,"kind":...}
///                                without "requests" all of them; other kinds: reset, close,
///                                drop_mid_body, store_then_close, delay (with "ms")
///   DELETE /standin/faults       everything works again
///   DELETE /standin/alerts/ID    the alert is gone, as if deleted in the console
///   POST   /standin/restart      ends and starts again: alerts dead, policy lost;
///                                {"ms":5000} is how long it is down
///   POST   /standin/empty        the same with nothing left
///   POST   /standin/unreachable  closes the port, for {"ms":5000}, or until it is opened
///   POST   /standin/reachable    opens it: to be asked on the control address
///   POST   /standin/password     {"password":"..."}: another one for the root user
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A second address for /standin/ alone, open when the first is closed; prints `control on http://ADDRESS`.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Which API: today's (v2.9.5), or v1 (v1.7.3: a document of alerts for each stream; none fires).
    #[arg(long, value_enum, default_value = "current")]
    generation: GenerationArgument,
    /// The root user.
    #[arg(long, default_value = "admin")]
    username: String,
    /// Its password.
    #[arg(long, default_value = "admin")]
    password: String,
    /// Key that may come in by X-API-KEY.
    #[arg(long)]
    api_key: Option<String>,
    /// Length of a minute of the alerts' frequency, window and interval.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    alert_minute: Duration,
    /// A name targets may use; beside these only localhost and addresses resolve.
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = host)]
    host: Vec<(String, IpAddr)>,
    /// Only count what is ingested: no columns, nothing to query. For measuring a client.
    #[arg(long)]
    sink: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum GenerationArgument {
    Current,
    V1,
}

fn host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDRESS")?;
    let address = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
    Ok((name.to_owned(), address))
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let config = Config {
        listen: arguments.listen,
        control: arguments.control,
        generation: match arguments.generation {
            GenerationArgument::Current => Generation::Current,
            GenerationArgument::V1 => Generation::V1,
        },
        credentials: Credentials {
            username: arguments.username,
            password: arguments.password,
            api_key: arguments.api_key,
        },
        alert_minute: arguments.alert_minute.max(Duration::from_millis(1)),
        hosts: arguments.host,
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
    if let Some(url) = &standin.control_url {
        println!("control on {url}");
    }
    println!("listening on {}", standin.url);
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parseable-standin: cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    }
}
