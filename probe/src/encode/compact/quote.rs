//! Text of processes on a terminal, quoted as Tetragon does it: with Go's rules.
//!
//! Whoever starts a process chooses its arguments. Unquoted, they could move the cursor, forge lines or
//! swap the reading direction of the terminal they are shown on.

use std::io::Write as _;

/// Appends `text`; quoted when it holds a space or anything that does not print.
pub fn word(text: &str, out: &mut Vec<u8>) {
    if text.chars().all(|c| c != ' ' && is_print(c)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        quoted(text, out);
    }
}

/// Appends `text` with what does not print escaped; spaces and quotes stay.
pub fn sentence(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        if is_print(c) { push(c, out) } else { escape(c, out) }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push(b'\\');
                push(c, out);
            }
            c if is_print(c) => push(c, out),
            c => escape(c, out),
        }
    }
    out.push(b'"');
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(c: char, out: &mut Vec<u8>) {
    let short = match c {
        '\u{7}' => b'a',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{b}' => b'v',
        c => {
            let code = u32::from(c);
            // Writing to a Vec cannot fail.
            let _ = match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Go's `IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
///
/// The standard library has the same table behind `escape_debug`. Its rule for marks depends on the
/// place: a mark behind another character counts as printable, so `c` is asked about behind an `a`.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut pair = [b'a', 0, 0, 0, 0];
    let len = 1 + c.encode_utf8(&mut pair[1..]).len();
    std::str::from_utf8(&pair[..len]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, how: fn(&str, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        how(text, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn words_without_spaces_stay() {
        for text in ["", "/etc/passwd", "a\"b\\c", "äöü", "日本", "e\u{301}", "\u{fffd}", "🚀"]
        {
            assert_eq!(shown(text, word), text);
        }
    }

    /// The expected texts are what Go's `strconv.Quote` gives.
    #[test]
    fn the_rest_is_quoted_like_go() {
        for (text, quoted) in [
            ("-s -X POST", r#""-s -X POST""#),
            ("say \"hi\" \\", r#""say \"hi\" \\""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\u{1b}[2J", r#""\x1b[2J""#),
            ("\u{7f}", r#""\x7f""#),
            ("a\u{a0}b", r#""a\u00a0b""#),
            ("\u{202e}", r#""\u202e""#),
            ("\u{200b}x", r#""\u200bx""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("\u{e000}", r#""\ue000""#),
            (" ä", r#"" ä""#),
        ] {
            assert_eq!(shown(text, word), quoted);
        }
    }

    #[test]
    fn a_sentence_keeps_spaces_and_loses_controls() {
        assert_eq!(shown("a \"b\" \u{1b}[0m\n", sentence), r#"a "b" \x1b[0m\n"#);
    }
}
