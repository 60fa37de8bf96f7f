//! Whether this process may use BPF at all, so that a refusal for want of rights is not taken for a
//! kernel that cannot.

/// One capability of the kernel by bit and name.
type Named = (u32, &'static str);
const SYS_ADMIN: Named = (21, "CAP_SYS_ADMIN");
const PERFMON: Named = (38, "CAP_PERFMON");
const BPF: Named = (39, "CAP_BPF");

/// The rights that loading and attaching programs needs and this process does not have.
///
/// ## Warning
/// Root of a container's own user namespace has the bits and yet not the rights: the kernel tells.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    std::fs::read_to_string("/proc/self/status")
        .map_or_else(|_| Vec::new(), |status| missing_in(&status))
}

fn missing_in(status: &str) -> Vec<&'static str> {
    let Some(bits) = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
    else {
        return Vec::new();
    };
    let has = |(bit, _): Named| bits >> bit & 1 == 1;
    if has(SYS_ADMIN) {
        return Vec::new();
    }
    [BPF, PERFMON].into_iter().filter(|named| !has(*named)).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_two_rights_are_enough() {
        assert!(missing_in("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert!(missing_in("CapEff:\t000000c000000000\n").is_empty());
        assert!(missing_in("CapEff:\t0000000000200000\n").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing_in("CapEff:\t0000000000000000\n"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_in("CapEff:\t0000008000000000\n"), ["CAP_PERFMON"]);
    }

    #[test]
    fn an_unreadable_status_accuses_nobody() {
        assert!(missing_in("").is_empty());
        assert!(missing_in("CapEff:\tzzz\n").is_empty());
    }
}
