//! JSON strings and numbers into a byte buffer.

/// Escapes by ASCII code, for the bytes that [`plain_len`] stops at.
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` quoted and escaped as RFC 8259 asks; everything above ASCII stays as it is.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    string_inside(text, out);
    out.push(b'"');
}

/// Appends the escaped `text` without quotes.
pub fn string_inside(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_len(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else { return };
        escape(byte, out);
        rest = &rest[plain + 1..];
    }
}

/// How many bytes at the start need no escape. Eight at a time: paths and arguments are nearly always
/// plain, and a look at every byte is most of what an event's JSON costs.
fn plain_len(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if has_special(u64::from_le_bytes(*word)) {
            return index * 8 + plain_prefix(word);
        }
    }
    let whole = words.len() * 8;
    whole + plain_prefix(&bytes[whole..])
}

fn plain_prefix(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether one of eight bytes is special. A borrow may flag a neighbour of a special byte, never a word
/// without one; the caller looks for the exact place.
const fn has_special(word: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & HIGH != 0
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a decimal number.
pub fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        string(text, &mut out);
        let back: String = serde_json::from_slice(&out).map_err(|error| {
            TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&out)))
        })?;
        prop_assert_eq!(back, text);
        // Both writers escape what they must and nothing else, so the bytes agree as well.
        prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
        Ok(())
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>()) {
            check(&text)?;
        }

        #[test]
        fn special_bytes_survive_at_any_place(text in "[a\"\\\\\u{0}-\u{1f}\u{7f}\u{80}é\u{fffd}\u{1f680}]{0,40}") {
            check(&text)?;
        }

        #[test]
        fn lossy_kernel_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            check(&String::from_utf8_lossy(&bytes))?;
        }
    }

    #[test]
    fn every_ascii_byte_in_every_lane() {
        for byte in 0..0x80_u8 {
            for lane in 0..17 {
                let mut text = "~".repeat(17);
                text.replace_range(lane..=lane, &char::from(byte).to_string());
                check(&text).unwrap();
            }
        }
    }
}
