//! Numbers as the language writes them, and the kinds that hold them.

use std::ops::RangeInclusive;

use crate::policy::ArgKind;

/// The values a kind can hold; `None` for what is no number.
pub(super) fn bounds(kind: ArgKind) -> Option<RangeInclusive<i128>> {
    Some(match kind {
        ArgKind::Int8 => span(i8::MIN, i8::MAX),
        ArgKind::Int16 => span(i16::MIN, i16::MAX),
        ArgKind::Int32 => span(i32::MIN, i32::MAX),
        ArgKind::Int64 => span(i64::MIN, i64::MAX),
        ArgKind::Uint8 => span(u8::MIN, u8::MAX),
        ArgKind::Uint16 => span(u16::MIN, u16::MAX),
        ArgKind::Uint32 => span(u32::MIN, u32::MAX),
        ArgKind::Uint64 => span(u64::MIN, u64::MAX),
        ArgKind::String | ArgKind::File | ArgKind::Path | ArgKind::Sock | ArgKind::Nop => {
            return None;
        }
    })
}

fn span<T: Into<i128>>(min: T, max: T) -> RangeInclusive<i128> {
    min.into()..=max.into()
}

/// Decimal, or by prefix `0x` hexadecimal, `0` or `0o` octal, `0b` binary; a sign in front.
pub(super) fn parse(text: &str) -> Result<i128, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // from_str_radix would take another sign here.
    let well_formed = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let value = if well_formed { i128::from_str_radix(digits, radix).ok() } else { None };
    match value {
        Some(value) => Ok(if negative { -value } else { value }),
        None => Err(format!("{text:?} is not a number: write it in decimal, as 0x1f or as 017")),
    }
}

/// A number within `bounds`; `what` names what is being counted, for the message.
pub(super) fn parse_within(
    text: &str,
    bounds: &RangeInclusive<i128>,
    what: &str,
) -> Result<i128, String> {
    let value = parse(text)?;
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err(format!("{text:?} is out of range for {what}: {} to {}", bounds.start(), bounds.end()))
    }
}

/// `min:max`, both inclusive.
pub(super) fn parse_range(
    text: &str,
    bounds: &RangeInclusive<i128>,
    what: &str,
) -> Result<RangeInclusive<i128>, String> {
    let Some((min, max)) = text.split_once(':') else {
        return Err(format!("{text:?} is not a range: write min:max, for example 1:10"));
    };
    let range = parse_within(min.trim(), bounds, what)?..=parse_within(max.trim(), bounds, what)?;
    if range.is_empty() {
        return Err(format!("{text:?} is an empty range: its first number is the larger one"));
    }
    Ok(range)
}
