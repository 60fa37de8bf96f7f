//! The words for kernel numbers, as Tetragon's JSON spells them.
//!
//! `None` is a number without a word; the JSON then shows the decimal number as a string.

/// Linux address families. 22 (`AF_SNA`) has no word in Tetragon.
const FAMILIES: [&str; 46] = [
    "AF_UNSPEC",
    "AF_UNIX",
    "AF_INET",
    "AF_AX25",
    "AF_IPX",
    "AF_APPLETALK",
    "AF_NETROM",
    "AF_BRIDGE",
    "AF_ATMPVC",
    "AF_X25",
    "AF_INET6",
    "AF_ROSE",
    "AF_DECnet",
    "AF_NETBEUI",
    "AF_SECURITY",
    "AF_KEY",
    "AF_NETLINK",
    "AF_PACKET",
    "AF_ASH",
    "AF_ECONET",
    "AF_ATMSVC",
    "AF_RDS",
    "",
    "AF_IRDA",
    "AF_PPPOX",
    "AF_WANPIPE",
    "AF_LLC",
    "AF_IB",
    "AF_MPLS",
    "AF_CAN",
    "AF_TIPC",
    "AF_BLUETOOTH",
    "AF_IUCV",
    "AF_RXRPC",
    "AF_ISDN",
    "AF_PHONET",
    "AF_IEEE802154",
    "AF_CAIF",
    "AF_ALG",
    "AF_NFC",
    "AF_VSOCK",
    "AF_KCM",
    "AF_QIPCRTR",
    "AF_SMC",
    "AF_XDP",
    "AF_MCTP",
];

/// Socket types from 1 on. The kernel's `SOCK_PACKET` is 10, but Tetragon's word stands at 7.
const SOCKET_TYPES: [&str; 8] = [
    "",
    "SOCK_STREAM",
    "SOCK_DGRAM",
    "SOCK_RAW",
    "SOCK_RDM",
    "SOCK_SEQPACKET",
    "SOCK_DCCP",
    "SOCK_PACKET",
];

const TCP_STATES: [&str; 13] = [
    "",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
];

/// x86-64 and arm64 share these numbers.
const SIGNALS: [&str; 65] = [
    "",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
    // Tetragon has no word for the real-time signals, so that death by one reads like a clean exit.
    // Ours are named as `kill -l` names them (32 and 33 belong to the C library).
    "SIG32",
    "SIG33",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMAX-14",
    "SIGRTMAX-13",
    "SIGRTMAX-12",
    "SIGRTMAX-11",
    "SIGRTMAX-10",
    "SIGRTMAX-9",
    "SIGRTMAX-8",
    "SIGRTMAX-7",
    "SIGRTMAX-6",
    "SIGRTMAX-5",
    "SIGRTMAX-4",
    "SIGRTMAX-3",
    "SIGRTMAX-2",
    "SIGRTMAX-1",
    "SIGRTMAX",
];

fn word(words: &[&'static str], number: usize) -> Option<&'static str> {
    words.get(number).copied().filter(|word| !word.is_empty())
}

/// `AF_*`
#[must_use]
pub fn family(number: u16) -> Option<&'static str> {
    word(&FAMILIES, usize::from(number))
}

/// `SOCK_*`
#[must_use]
pub fn socket_type(number: u16) -> Option<&'static str> {
    word(&SOCKET_TYPES, usize::from(number))
}

/// `TCP_*`
#[must_use]
pub fn tcp_state(number: u8) -> Option<&'static str> {
    word(&TCP_STATES, usize::from(number))
}

/// `SIG*`; 0 is no signal.
#[must_use]
pub fn signal(number: u8) -> Option<&'static str> {
    word(&SIGNALS, usize::from(number))
}

/// `IPPROTO_*`
#[must_use]
pub const fn protocol(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "IPPROTO_IP",
        1 => "IPPROTO_ICMP",
        2 => "IPPROTO_IGMP",
        4 => "IPPROTO_IPIP",
        6 => "IPPROTO_TCP",
        8 => "IPPROTO_EGP",
        12 => "IPPROTO_PUP",
        17 => "IPPROTO_UDP",
        22 => "IPPROTO_IDP",
        29 => "IPPROTO_TP",
        33 => "IPPROTO_DCCP",
        41 => "IPPROTO_IPV6",
        46 => "IPPROTO_RSVP",
        47 => "IPPROTO_GRE",
        50 => "IPPROTO_ESP",
        51 => "IPPROTO_AH",
        92 => "IPPROTO_MTP",
        94 => "IPPROTO_BEETPH",
        98 => "IPPROTO_ENCAP",
        103 => "IPPROTO_PIM",
        108 => "IPPROTO_COMP",
        132 => "IPPROTO_SCTP",
        136 => "IPPROTO_UDPLITE",
        137 => "IPPROTO_MPLS",
        143 => "IPPROTO_ETHERNET",
        255 => "IPPROTO_RAW",
        262 => "IPPROTO_MPTCP",
        _ => return None,
    })
}

/// `st_mode` as `ls -l` shows it. An inode without a file type (an anonymous one) has no type letter,
/// so the text is then nine characters long; `buffer` holds either.
#[must_use]
pub fn permission(mode: u16, buffer: &mut [u8; 10]) -> &[u8] {
    let letter = match mode & 0o170_000 {
        0o060_000 => b'b',
        0o020_000 => b'c',
        0o040_000 => b'd',
        0o010_000 => b'p',
        0o120_000 => b'l',
        0o100_000 => b'-',
        0o140_000 => b's',
        _ => 0,
    };
    buffer[0] = letter;
    for (bit, (slot, set)) in buffer[1..].iter_mut().zip(b"rwxrwxrwx").enumerate() {
        *slot = if mode & (0o400 >> bit) != 0 { *set } else { b'-' };
    }
    for (bit, place, with_x, without_x) in
        [(0o4000, 3, b's', b'S'), (0o2000, 6, b's', b'S'), (0o1000, 9, b't', b'T')]
    {
        if mode & bit != 0 {
            buffer[place] = if buffer[place] == b'x' { with_x } else { without_x };
        }
    }
    if letter == 0 { &buffer[1..] } else { &buffer[..] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_like_ls() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o104_755, "-rwsr-xr-x"),
            (0o106_644, "-rwSr-Sr--"),
            (0o102_755, "-rwxr-sr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o140_777, "srwxrwxrwx"),
            (0o010_600, "prw-------"),
            (0o020_666, "crw-rw-rw-"),
            (0o060_660, "brw-rw----"),
            (0o120_777, "lrwxrwxrwx"),
            (0o000_600, "rw-------"),
            (0, "---------"),
        ] {
            assert_eq!(std::str::from_utf8(permission(mode, &mut [0; 10])), Ok(text), "{mode:o}");
        }
    }

    #[test]
    fn numbers_have_their_words() {
        assert_eq!(family(10), Some("AF_INET6"));
        assert_eq!(family(45), Some("AF_MCTP"));
        assert_eq!(family(22), None);
        assert_eq!(family(400), None);
        assert_eq!(socket_type(0), None);
        assert_eq!(socket_type(2), Some("SOCK_DGRAM"));
        assert_eq!(protocol(6), Some("IPPROTO_TCP"));
        assert_eq!(protocol(58), None);
        assert_eq!(tcp_state(12), Some("TCP_NEW_SYN_RECV"));
        assert_eq!(tcp_state(13), None);
        assert_eq!(signal(0), None);
        assert_eq!(signal(9), Some("SIGKILL"));
        assert_eq!(signal(31), Some("SIGSYS"));
        assert_eq!(signal(34), Some("SIGRTMIN"));
        assert_eq!(signal(49), Some("SIGRTMIN+15"));
        assert_eq!(signal(64), Some("SIGRTMAX"));
        assert_eq!(signal(65), None);
    }
}
