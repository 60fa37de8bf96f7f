//! Kinds of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The one kind that tests may lift.
pub(super) const LOOPBACK: &str = "a loopback address";

/// The IPv4 address inside an IPv6 one, where there is one: mapped, compatible, or of a NAT64 translator, which would
/// carry the call to it.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            v4(high, low).into()
        }
        // ::1 and :: are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low).into(),
        // 6to4
        [0x2002, high, low, ..] => v4(high, low).into(),
        _ => address,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// What is wrong with an address that no server of anybody's has.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some(LOOPBACK),
        // All of 0/8 means "this host" to some systems.
        [0, ..] => Some("an unspecified address"),
        [169, 254, ..] => Some("a link-local address (instance metadata is there)"),
        // Two clouds keep their metadata outside of link-local.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Some("an instance metadata address"),
        [224..=239, ..] => Some("a multicast address"),
        [255, 255, 255, 255] => Some("the broadcast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(LOOPBACK),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        // Among the private ones, and metadata all the same.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Some("an instance metadata address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        _ => None,
    }
}
