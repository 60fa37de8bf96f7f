//! A request's body: type, encoding, limit.

use std::io::{self, Read, Write};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Buf, Bytes};
use flate2::write::{GzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::answer::Answer;

/// A JSON body, inflated.
#[derive(Debug)]
pub(crate) struct JsonBody {
    pub(crate) bytes: Bytes,
    /// Its length as sent.
    pub(crate) sent_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
    Zstd,
    /// None, or one the server does not know and ignores.
    Plain,
}

/// Reads a body that must be JSON by its content type.
pub(crate) async fn read_json(request: Request, limit: usize) -> Result<JsonBody, Answer> {
    if !is_json(request.headers()) {
        return Err(Answer::bad_request("Content type error"));
    }
    read(request, limit).await
}

/// Reads a body, inflated, of at most `limit` bytes.
pub(crate) async fn read(request: Request, limit: usize) -> Result<JsonBody, Answer> {
    let encoding = encoding(request.headers())?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let (Encoding::Plain, Some(length)) = (encoding, announced)
        && length > limit
    {
        // Before the body is read: who is still writing gets a broken pipe.
        return Err(Answer::Text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("JSON payload ({length} bytes) is larger than allowed (limit: {limit} bytes)."),
        ));
    }
    let mut body = request.into_body();
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut sent_bytes = 0;
    while let Some(frame) = body.frame().await {
        // The client went away in the middle; nobody is left to read an answer.
        let frame = frame.map_err(|_| Answer::HangUp)?;
        if let Ok(piece) = frame.into_data() {
            sent_bytes += piece.len();
            if sent_bytes > limit {
                return Err(too_large(limit));
            }
            pieces.push(piece);
        }
    }
    let sent = join(pieces, sent_bytes);
    let bytes = match encoding {
        Encoding::Plain => sent,
        encoded => inflate(encoded, &sent, limit)?.into(),
    };
    Ok(JsonBody { bytes, sent_bytes })
}

/// Parses a body the way the server reports its mistakes.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(bytes).map_err(|error| deserialize_error(&error))
}

pub(crate) fn deserialize_error(error: &dyn std::fmt::Display) -> Answer {
    Answer::bad_request(format!("Json deserialize error: {error}"))
}

fn join(mut pieces: Vec<Bytes>, length: usize) -> Bytes {
    if pieces.len() == 1 {
        return pieces.swap_remove(0);
    }
    let mut joined = Vec::with_capacity(length);
    for mut piece in pieces {
        while piece.has_remaining() {
            let chunk = piece.chunk();
            joined.extend_from_slice(chunk);
            let taken = chunk.len();
            piece.advance(taken);
        }
    }
    joined.into()
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Answer> {
    let value = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok());
    match value.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "gzip" => Ok(Encoding::Gzip),
        "deflate" => Ok(Encoding::Deflate),
        "zstd" => Ok(Encoding::Zstd),
        "br" => Err(Answer::not_recorded("Content-Encoding br")),
        _ => Ok(Encoding::Plain),
    }
}

fn too_large(limit: usize) -> Answer {
    Answer::Text(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("JSON payload has exceeded limit ({limit} bytes)."),
    )
}

fn inflate(encoding: Encoding, sent: &[u8], limit: usize) -> Result<Vec<u8>, Answer> {
    let inflated = match encoding {
        Encoding::Gzip => {
            let mut decoder = GzDecoder::new(Bounded::new(limit));
            decoder.write_all(sent).and_then(|()| decoder.finish().map_err(cut_short))
        }
        Encoding::Deflate => {
            let mut decoder = ZlibDecoder::new(Bounded::new(limit));
            decoder.write_all(sent).and_then(|()| decoder.finish())
        }
        Encoding::Zstd | Encoding::Plain => zstd_inflate(sent, limit),
    };
    match inflated {
        Ok(bounded) => Ok(bounded.bytes),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(too_large(limit)),
        Err(error) => Err(Answer::bad_request(format!(
            "Error that occur during reading payload: payload reached EOF before completing: Some({error:?})"
        ))),
    }
}

/// The recorded server's words for a gzip body that ends early.
fn cut_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => error,
        _ => io::Error::new(
            io::ErrorKind::InvalidInput,
            "corrupt gzip stream does not have a matching checksum",
        ),
    }
}

fn zstd_inflate(sent: &[u8], limit: usize) -> io::Result<Bounded> {
    let mut bytes = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(sent)?;
    decoder.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Bounded { bytes, limit })
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
