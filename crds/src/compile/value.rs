//! Values of a filter: text, networks, ports, names.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::names::Names;
use super::number;
use crate::policy::{ArgKind, MAX_POSTFIX_BYTES, MAX_PREFIX_BYTES, TextPlace};

/// A string or path to compare with.
pub(super) fn text(value: &str, kind: ArgKind, place: TextPlace) -> Result<String, String> {
    let text = match kind {
        // Published policies write "/etc/passwd\0": Tetragon strips it for this type and no other.
        ArgKind::String => value.trim_end_matches('\0'),
        _ => value,
    };
    if text.contains('\0') {
        return Err(format!("{value:?} holds a zero byte, which no path or string has: remove it"));
    }
    check_length(text, place)?;
    Ok(text.to_owned())
}

/// The path of a binary to compare with.
pub(super) fn binary(value: &str, place: TextPlace) -> Result<String, String> {
    text(value, ArgKind::Path, place)
}

fn check_length(text: &str, place: TextPlace) -> Result<(), String> {
    let most = match place {
        TextPlace::Equal | TextPlace::Prefix => MAX_PREFIX_BYTES,
        TextPlace::Postfix => MAX_POSTFIX_BYTES,
    };
    match text.len() {
        0 => Err("the value is empty: it would match everything or nothing".to_owned()),
        bytes if bytes > most => {
            Err(format!("the value has {bytes} bytes, at most {most} are possible here"))
        }
        _ => Ok(()),
    }
}

/// An address or a network.
pub(super) fn network(value: &str) -> Result<IpNet, String> {
    if let Ok(network) = value.parse::<IpNet>() {
        return Ok(network.trunc());
    }
    if let Ok(address) = value.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    if value.contains("${") || value.contains("{{") {
        return Err(format!(
            "{value:?} is not a network: replace the placeholder, for example with 10.244.0.0/16"
        ));
    }
    Err(format!(
        "{value:?} is not a network: write an address or a CIDR, for example 127.0.0.1, 10.0.0.0/8 or fd00::/8"
    ))
}

/// A port, or `first:last`.
pub(super) fn ports(value: &str) -> Result<RangeInclusive<i128>, String> {
    let bounds = 0..=i128::from(u16::MAX);
    if value.contains(':') {
        return number::parse_range(value, &bounds, "a port");
    }
    let port = number::parse_within(value, &bounds, "a port")?;
    Ok(port..=port)
}

/// A number, or a name that stands for one.
pub(super) fn named(value: &str, names: &Names) -> Result<RangeInclusive<i128>, String> {
    let number = match names.number(value) {
        Some(number) => number,
        None if value.starts_with(|c: char| c.is_ascii_digit()) => {
            number::parse_within(value, &(0..=names.max), names.what)?
        }
        None => {
            let hint = names.nearest(value).unwrap_or(names.example);
            return Err(format!(
                "{value:?} is no {}: write its number or its name, for example {hint}",
                names.what
            ));
        }
    };
    Ok(number..=number)
}
