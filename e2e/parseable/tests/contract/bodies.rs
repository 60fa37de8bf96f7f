//! The bytes of a recorded request's body.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::recording::Request;

/// The body as it was sent.
pub fn body(request: &Request) -> Vec<u8> {
    let raw = request.body.get();
    if raw == "null" {
        return Vec::new();
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => from_text(&text),
        Err(_) => respaced(raw).into_bytes(),
    }
}

/// A body kept as text, or the description of one too long or too binary to keep.
fn from_text(text: &str) -> Vec<u8> {
    match text {
        r#"<gzip of an array of 50 objects {"event_type":"enc","n":i}>"# => gzip(&fifty()),
        "<zstd of the same>" => zstd::encode_all(fifty().as_slice(), 3).unwrap(),
        "<zlib deflate of the same>" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&fifty()).unwrap();
            encoder.finish().unwrap()
        }
        "<the same, not encoded>" => fifty(),
        "<gzip cut 20 bytes short>" => {
            let whole = gzip(&fifty());
            whole[..whole.len() - 20].to_vec()
        }
        "<gzip, 25216 bytes, inflating to 10753600>" => gzip(&padded(10_400)),
        "<9306000 bytes: array of 9000 objects>" => padded(9_000),
        "<10753600 bytes, Content-Length given>" => padded(10_400),
        r#"{"a":"<bytes ff fe>"}"# => b"{\"a\":\"\xff\xfe\"}".to_vec(),
        "<object with keys c0..c899>" => keys("c", 900),
        "<object with keys d0..d199>" => keys("d", 200),
        "<object with keys c0..c1000>" => keys("c", 1001),
        r#"<array of 100 objects {"i":k}>"# => {
            let objects: Vec<String> = (0..100).map(|k| format!("{{\"i\": {k}}}")).collect();
            format!("[{}]", objects.join(", ")).into_bytes()
        }
        "<object with one string of 1 MiB>" => {
            format!("{{\"v\": \"{}\"}}", "x".repeat(1 << 20)).into_bytes()
        }
        other => {
            assert!(!other.starts_with('<'), "no bytes are known for {other}");
            other.as_bytes().to_vec()
        }
    }
}

fn fifty() -> Vec<u8> {
    let objects: Vec<String> =
        (0..50).map(|n| format!("{{\"event_type\":\"enc\",\"n\":{n}}}")).collect();
    format!("[{}]", objects.join(",")).into_bytes()
}

/// Objects that take 1034 bytes each in their array.
fn padded(count: usize) -> Vec<u8> {
    let pad = 1032 - r#"{"event_type": "big", "pad": ""}"#.len();
    let object = format!(r#"{{"event_type": "big", "pad": "{}"}}"#, "p".repeat(pad));
    format!("[{}]", vec![object; count].join(", ")).into_bytes()
}

fn keys(prefix: &str, count: usize) -> Vec<u8> {
    let pairs: Vec<String> = (0..count).map(|n| format!("\"{prefix}{n}\": \"v\"")).collect();
    format!("{{{}}}", pairs.join(", ")).into_bytes()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The client that recorded wrote `", "` and `": "` and no other blanks; error texts count them.
fn respaced(raw: &str) -> String {
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for c in raw.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\n' | '\t' | '\r' => {}
            ',' | ':' => out.extend([c, ' ']),
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}
