//! Both walk-throughs, told as they happen: a guest kernel runs the probe with `config/samples/` as they stand, real
//! `curl`, `wget` and `cat` set them off, and a Parseable stand-in and a webhook on this machine receive what comes.

mod checks;
mod http;
mod servers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::built;
use crate::guest::{Console, Guest, Kernel, NETWORK_HOST, Rootfs, repository};
use checks::Checks;
use servers::{Parseable, Webhook};

/// A page that no pod should fetch; the guest's own, under an address of the Internet.
const PAGE: &str = "93.184.215.14:80";
/// What the user and password of the sample's Secret are here.
const USER: &str = "admin";
const PASSWORD: &str = "admin";

type Error = Box<dyn std::error::Error>;

/// Runs the demo and says whether a check failed.
///
/// # Errors
/// Something could not be built or started.
pub fn run() -> Result<bool, Error> {
    let built = Programs::build()?;
    let started = Instant::now();
    let parseable = Parseable::start(&built.standin, USER, PASSWORD)?;
    let webhook = Webhook::start()?;
    say(
        "The parts",
        &format!(
            "Parseable stand-in  {}\nwebhook             {}\nguest               Linux 6.12 under emulation, Debian with curl, wget and cat",
            parseable.address(),
            webhook.address(),
        ),
    );
    say(
        "On the guest's console: securitywatch-probe run -f egress.yaml -f sensitive-files.yaml",
        "In a shell beside it: wget and curl a page, cat /etc/passwd and /etc/shadow.",
    );
    let outcome = guest(&built, &parseable, &webhook)?.run()?;

    let mut checks = Checks::default();
    checks.guest(&outcome);
    let events = checks.event_log(&outcome.text("events.jsonl"));
    checks.stream(&parseable, events)?;
    checks.alerts(&webhook.received(), &outcome.console, &samples())?;
    checks.summary(&outcome.text("probe.err"));
    println!("\n({:.0} s from the first part's start to here)", started.elapsed().as_secs_f64());
    println!("demo: {} passed, {} failed", checks.passed, checks.failed);
    Ok(checks.failed > 0)
}

fn say(title: &str, text: &str) {
    println!("\n== {title}");
    println!("{text}");
}

/// The samples, as they stand in the repository.
fn samples() -> [PathBuf; 2] {
    ["egress.yaml", "sensitive-files.yaml"]
        .map(|name| repository().join("config/samples").join(name))
}

struct Programs {
    probe: PathBuf,
    peers: PathBuf,
    standin: PathBuf,
}

impl Programs {
    fn build() -> Result<Self, Error> {
        println!("Building what is not built yet; from nothing this takes some minutes.");
        Ok(Self {
            probe: built::program("securitywatch-probe")?,
            peers: built::program("demo-peers")?,
            standin: built::program("parseable-standin")?,
        })
    }
}

fn guest(built: &Programs, parseable: &Parseable, webhook: &Webhook) -> Result<Guest, Error> {
    let mut guest = Guest::new(Kernel::V6_12, Rootfs::Golden, script(parseable.port()))
        .timeout(Duration::from_secs(150))
        .program(&built.probe, "/t/securitywatch-probe")
        .program(&built.peers, "/t/demo-peers")
        .file("/t/secrets/parseable-env-secret/username", USER, 0o600)
        .file("/t/secrets/parseable-env-secret/password", PASSWORD, 0o600)
        .file(
            "/t/secrets/oncall/url",
            format!("http://{NETWORK_HOST}:{}/oncall", webhook.port()),
            0o600,
        );
    for sample in samples() {
        let name = sample.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        guest = guest.file(
            format!("/t/{name}"),
            std::fs::read(&sample).map_err(|e| unreadable(&sample, &e))?,
            0o644,
        );
    }
    guest.network = true;
    guest.console = Console::Shown;
    guest.hostname = "demo-node".to_owned();
    Ok(guest)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    format!("{}: {error}", path.display()).into()
}

/// The story. `parseable.parseable.svc` of the samples is the relay, which ends at the stand-in.
fn script(parseable_port: u16) -> String {
    format!(
        "echo 127.0.0.1 parseable.parseable.svc >> /etc/hosts
/t/demo-peers --relay 127.0.0.1:80 {NETWORK_HOST}:{parseable_port} --web {PAGE} > /t/peers &
until grep -q ready /t/peers 2>/dev/null; do sleep 0.1; done
/t/securitywatch-probe run -f /t/egress.yaml -f /t/sensitive-files.yaml --secrets /t/secrets \\
  --event-log /out/events.jsonl --ready-file /t/ready 2> /out/probe.err &
probe=$!
/t/demo-peers --wait /t/ready
wget -q -O /dev/null http://{PAGE}/
curl -s -o /dev/null http://{PAGE}/
cat /etc/passwd > /dev/null
cat /etc/shadow > /dev/null
sleep 3
kill -TERM $probe
wait $probe
echo $? > /out/probe.code
cat /out/probe.err
"
    )
}
