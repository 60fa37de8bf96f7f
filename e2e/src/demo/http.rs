//! Just enough HTTP to ask a server of this machine and to be asked by the probe.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use base64::Engine as _;

/// Posts JSON with Basic authentication and returns status and body.
pub fn post(
    address: &str,
    path: &str,
    login: (&str, &str),
    body: &str,
) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(address)?;
    let login =
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", login.0, login.1));
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {login}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(connection);
    let (first, length) = head(&mut reader)?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut text = String::new();
    match length {
        Some(length) => reader.take(length).read_to_string(&mut text)?,
        None => reader.read_to_string(&mut text)?,
    };
    status
        .map(|status| (status, text))
        .ok_or_else(|| io::Error::other(format!("no HTTP answer: {first:?}")))
}

/// Reads one request's body and answers 200.
pub fn receive(connection: TcpStream) -> io::Result<String> {
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    let (_, length) = head(&mut reader)?;
    let mut body = String::new();
    reader.take(length.unwrap_or(0)).read_to_string(&mut body)?;
    writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(body)
}

/// The first line and the length of the body.
fn head(reader: &mut impl BufRead) -> io::Result<(String, Option<u64>)> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((first.trim_end().to_owned(), length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
}
