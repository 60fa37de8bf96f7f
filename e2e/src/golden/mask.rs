//! Values that cannot repeat from run to run, replaced by what they are.
//!
//! Each is checked for its shape first, so that a missing or malformed value still differs.

/// The first inode number of namespaces that are made after boot.
const FIRST_DYNAMIC_NAMESPACE: u64 = 4_026_532_000;
/// Linux's default range of ephemeral ports starts here.
const FIRST_EPHEMERAL_PORT: u64 = 32_768;

/// A timestamp becomes `<time>`.
pub(super) fn time(text: &str) -> String {
    let shape: String =
        text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let (seconds, fraction) = shape.split_at(shape.len().min("0000-00-00T00:00:00".len()));
    let fraction = fraction.trim_start_matches('.').trim_start_matches('0');
    if seconds == "0000-00-00T00:00:00" && fraction == "Z" {
        "<time>".to_owned()
    } else {
        text.to_owned()
    }
}

/// A date as `date '+%Y-%m-%d %H:%M:%S'` writes it becomes `<date>`: the trigger sets the clock to now.
pub(super) fn dates(text: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00";
    let matches_at = |window: &[u8]| {
        window
            .iter()
            .zip(SHAPE)
            .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape })
    };
    let Some(start) = text.as_bytes().windows(SHAPE.len()).position(matches_at) else {
        return text.to_owned();
    };
    format!("{}<date>{}", &text[..start], dates(&text[start + SHAPE.len()..]))
}

/// `pipe:[1234]` and `socket:[1234]` become `pipe:[<inode>]`.
pub(super) fn inodes(text: &str) -> String {
    let Some((before, rest)) = text.split_once(":[") else {
        return text.to_owned();
    };
    let Some((inode, after)) = rest.split_once(']') else {
        return text.to_owned();
    };
    if inode.is_empty() || !inode.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    format!("{before}:[<inode>]{}", inodes(after))
}

/// The inode number of a namespace; the ones the kernel starts with have fixed numbers.
pub(super) fn namespace(inode: u64) -> Option<&'static str> {
    (inode >= FIRST_DYNAMIC_NAMESPACE).then_some("<namespace>")
}

/// A port that the kernel chose.
pub(super) fn chosen_port(port: u64) -> Option<&'static str> {
    (FIRST_EPHEMERAL_PORT..=u64::from(u16::MAX)).contains(&port).then_some("<ephemeral port>")
}

/// A socket's cookie: a number in a string.
pub(super) fn cookie(text: &str) -> Option<&'static str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some("<cookie>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_masked_and_anything_else_is_not() {
        assert_eq!(time("2026-11-22T01:43:07.310803230Z"), "<time>");
        assert_eq!(time("2026-11-22T01:43:07Z"), "<time>");
        for wrong in
            ["", "2026-11-22", "2026-11-22T01:43:07", "2026-11-22T01:43:07+01:00", "yesterday"]
        {
            assert_eq!(time(wrong), wrong);
        }
    }

    #[test]
    fn a_date_is_masked_within_arguments() {
        assert_eq!(dates("-s \"2026-11-22 01:43:21\""), "-s \"<date>\"");
        assert_eq!(dates("-u \"+%Y-%m-%d %H:%M:%S\""), "-u \"+%Y-%m-%d %H:%M:%S\"");
        assert_eq!(dates("é2026-11-22 01:43:21é"), "é<date>é");
    }

    #[test]
    fn inodes_are_masked_in_brackets_only() {
        assert_eq!(inodes("pipe:[4711]"), "pipe:[<inode>]");
        assert_eq!(inodes("/tmp/a:[b]"), "/tmp/a:[b]");
        assert_eq!(inodes("/etc/passwd"), "/etc/passwd");
    }

    #[test]
    fn only_chosen_ports_and_new_namespaces_are_masked() {
        assert_eq!((chosen_port(9999), chosen_port(40704)), (None, Some("<ephemeral port>")));
        assert_eq!(
            (namespace(4_026_531_837), namespace(4_026_532_200)),
            (None, Some("<namespace>"))
        );
        assert_eq!((cookie("18446"), cookie("")), (Some("<cookie>"), None));
    }
}
