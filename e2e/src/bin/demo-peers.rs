//! What a guest of the demo finds around it, in one quiet process: `--relay LISTEN TO` passes connections on, as a
//! cluster's Service does; `--web LISTEN` is the page somewhere in the Internet that should not be fetched. With
//! `--wait FILE` it waits for a file instead, which a shell
//! cannot without starting a process each time it looks. `--mount ADDRESS DIR` is what a kubelet does for a mounted Secret:
//! each line `KEY BASE64` that comes from there becomes a file, until the other side hangs up.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [what, file] if what == "--wait" => return await_file(file),
        [what, address, folder] if what == "--mount" => return mount(address, Path::new(folder)),
        _ => {}
    }
    let [relay, from, to, web, page] = arguments.as_slice() else { return usage() };
    if (relay.as_str(), web.as_str()) != ("--relay", "--web") {
        return usage();
    }
    let (relay, page) = match (TcpListener::bind(from), TcpListener::bind(page)) {
        (Ok(relay), Ok(page)) => (relay, page),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("demo-peers: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("peers ready");
    thread::spawn(move || page.incoming().flatten().for_each(|connection| serve(&connection)));
    for connection in relay.incoming().flatten() {
        let to = to.clone();
        thread::spawn(move || {
            if let Err(error) = pass_on(&connection, &to) {
                eprintln!("demo-peers: {to}: {error}");
            }
        });
    }
    ExitCode::SUCCESS
}

/// Longer than a probe needs to attach under emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn await_file(file: &str) -> ExitCode {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if std::path::Path::new(file).exists() {
            return ExitCode::SUCCESS;
        }
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("demo-peers: {file} did not appear");
    ExitCode::FAILURE
}

fn mount(address: &str, folder: &Path) -> ExitCode {
    let mounted = TcpStream::connect(address).and_then(|stream| {
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let (key, value) = line.split_once(' ').unwrap_or((&line, ""));
            let value = BASE64_STANDARD.decode(value).map_err(io::Error::other)?;
            std::fs::write(folder.join(key), value)?;
        }
        Ok(())
    });
    match mounted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-peers: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: demo-peers --relay LISTEN TO --web LISTEN | --wait FILE | --mount ADDRESS DIR"
    );
    ExitCode::from(2)
}

fn serve(mut connection: &TcpStream) {
    let mut request = [0; 4096];
    let _ = connection.read(&mut request);
    let _ = connection.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello\n",
    );
}

fn pass_on(near: &TcpStream, to: &str) -> std::io::Result<()> {
    let far = TcpStream::connect(to)?;
    let (near_in, far_out) = (near.try_clone()?, far.try_clone()?);
    let there = thread::spawn(move || copy(near_in, far_out));
    copy(far, near.try_clone()?);
    let _ = there.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
