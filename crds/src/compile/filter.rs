//! `matchArgs[]` and `matchReturnArgs[]`: an operator and its values become a [`Test`].

use std::ops::RangeInclusive;

use super::names::{FAMILIES, PROTOCOLS, STATES};
use super::{Errors, number, value, word};
use crate::field::FieldPath;
use crate::policy::{ArgKind, MAX_RANGES, Side, Test, TextPlace};
use crate::tracing_policy::{ArgOperator, ArgSelector};

type Op = ArgOperator;
type Ranges = Vec<RangeInclusive<i128>>;

/// The test of `spec`, which stands at `path`, on an argument of `kind` that the document calls `named`.
pub(super) fn compile(
    path: &FieldPath,
    spec: &ArgSelector,
    kind: ArgKind,
    errors: &mut Errors,
) -> Option<Test> {
    let values = Values { path, list: spec.values.as_deref().unwrap_or_default() };
    match class(kind) {
        Class::Number(bounds) => number_test(spec.operator, kind, &bounds, &values, errors),
        Class::Text => text_test(spec.operator, kind, &values, errors),
        Class::Sock => sock_test(spec.operator, &values, errors),
        Class::Unread => {
            errors.add(path, "the argument is of type nop, which is not read: give it its type");
            None
        }
    }
}

enum Class {
    Number(RangeInclusive<i128>),
    Text,
    Sock,
    Unread,
}

fn class(kind: ArgKind) -> Class {
    match (number::bounds(kind), kind) {
        (Some(bounds), _) => Class::Number(bounds),
        (None, ArgKind::Sock) => Class::Sock,
        (None, ArgKind::Nop) => Class::Unread,
        (None, _) => Class::Text,
    }
}

/// The values of one filter.
struct Values<'a> {
    path: &'a FieldPath,
    list: &'a [String],
}

impl Values<'_> {
    /// Every value read by `read`; `None` when there is none or one is wrong.
    fn read<T>(
        &self,
        errors: &mut Errors,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let path = self.path.field("values");
        if self.list.is_empty() {
            let place = self.path;
            errors.add(place, "values is missing: list what the argument is compared with");
            return None;
        }
        let read: Vec<_> = self
            .list
            .iter()
            .enumerate()
            .filter_map(|(index, value)| {
                read(value).map_err(|message| errors.add(&path.index(index), message)).ok()
            })
            .collect();
        (read.len() == self.list.len()).then_some(read)
    }

    /// As [`Self::read`], for ranges, of which a filter holds only so many.
    fn ranges(
        &self,
        errors: &mut Errors,
        read: impl Fn(&str) -> Result<RangeInclusive<i128>, String>,
    ) -> Option<Ranges> {
        let ranges = self.read(errors, read)?;
        if ranges.len() > MAX_RANGES {
            errors.add(
                &self.path.field("values"),
                format!("{} values, at most {MAX_RANGES} are possible here: use ranges or a second selector", ranges.len()),
            );
            return None;
        }
        Some(ranges)
    }

    /// The bound of `GT` and `LT`, which compare with one number.
    fn single(
        &self,
        errors: &mut Errors,
        read: impl Fn(&str) -> Result<RangeInclusive<i128>, String>,
    ) -> Option<Ranges> {
        let ranges = self.ranges(errors, read)?;
        if ranges.len() > 1 {
            errors.add(&self.path.field("values").index(1), "this operator takes one value");
            return None;
        }
        Some(ranges)
    }

    fn none(&self, errors: &mut Errors) {
        if !self.list.is_empty() {
            errors.add(&self.path.field("values"), "this operator takes no values");
        }
    }

    fn misfit(&self, operator: Op, kind: &str, fitting: &str, errors: &mut Errors) -> Option<Test> {
        let path = self.path.field("operator");
        let built = !matches!(
            operator,
            Op::InMap
                | Op::NotInMap
                | Op::CapabilitiesGained
                | Op::FileType
                | Op::NotFileType
                | Op::SubString
                | Op::SubStringIgnCase
                | Op::CelExpr
        );
        let operator = word(operator);
        let message = if built {
            format!(
                "{operator} does not apply to an argument of type {kind}, which takes {fitting}"
            )
        } else {
            format!("{operator} is not supported; an argument of type {kind} takes {fitting}")
        };
        errors.add(&path, message);
        None
    }
}

fn number_test(
    operator: Op,
    kind: ArgKind,
    bounds: &RangeInclusive<i128>,
    values: &Values<'_>,
    errors: &mut Errors,
) -> Option<Test> {
    let name = kind_name(kind);
    let one = |text: &str| number::parse_within(text, bounds, name).map(|value| value..=value);
    let range = |text: &str| number::parse_range(text, bounds, name);
    let (negate, ranges) = match operator {
        Op::Equal => (false, values.ranges(errors, one)?),
        Op::NotEqual => (true, values.ranges(errors, one)?),
        Op::InRange => (false, values.ranges(errors, range)?),
        Op::NotInRange => (true, values.ranges(errors, range)?),
        Op::GT | Op::GreaterThan => {
            let above = |text: &str| match number::parse_within(text, bounds, name)? {
                value if value == *bounds.end() => {
                    Err(format!("no {name} is greater than {value}"))
                }
                value => Ok(value + 1..=*bounds.end()),
            };
            (false, values.single(errors, above)?)
        }
        Op::LT | Op::LessThan => {
            let below = |text: &str| match number::parse_within(text, bounds, name)? {
                value if value == *bounds.start() => Err(format!("no {name} is less than {value}")),
                value => Ok(*bounds.start()..=value - 1),
            };
            (false, values.single(errors, below)?)
        }
        Op::Mask => {
            // Sharing a bit with any of them is sharing a bit with all of them together.
            let masks = values.read(errors, |text| mask(text, bounds, name))?;
            return Some(Test::Mask { masks: vec![masks.iter().fold(0, |all, mask| all | mask)] });
        }
        other => {
            return values.misfit(
                other,
                name,
                "Equal, NotEqual, GT, LT, InRange, NotInRange or Mask",
                errors,
            );
        }
    };
    Some(Test::Range { negate, ranges })
}

/// The bits of a mask; a negative one stands for the bits of its two's complement in the kind's width.
fn mask(text: &str, bounds: &RangeInclusive<i128>, name: &str) -> Result<u64, String> {
    let all_bits = bounds.end() - bounds.start();
    let value = number::parse_within(text, &(*bounds.start()..=all_bits), name)?;
    match u64::try_from(value & all_bits) {
        Ok(0) => Err(format!("{text:?} has no bit set and would never match")),
        Ok(bits) => Ok(bits),
        Err(_) => Err(format!("{text:?} has more bits than {name}")),
    }
}

const fn kind_name(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Int8 => "int8",
        ArgKind::Int16 => "int16",
        ArgKind::Int32 => "int",
        ArgKind::Int64 => "int64",
        ArgKind::Uint8 => "uint8",
        ArgKind::Uint16 => "uint16",
        ArgKind::Uint32 => "uint32",
        ArgKind::Uint64 => "uint64",
        ArgKind::String => "string",
        ArgKind::File => "file",
        ArgKind::Path => "path",
        ArgKind::Sock => "sock",
        ArgKind::Nop => "nop",
    }
}

fn text_test(
    operator: Op,
    kind: ArgKind,
    values: &Values<'_>,
    errors: &mut Errors,
) -> Option<Test> {
    let (place, negate) = match operator {
        Op::Equal => (TextPlace::Equal, false),
        Op::NotEqual => (TextPlace::Equal, true),
        Op::Prefix => (TextPlace::Prefix, false),
        Op::NotPrefix => (TextPlace::Prefix, true),
        Op::Postfix => (TextPlace::Postfix, false),
        Op::NotPostfix => (TextPlace::Postfix, true),
        other => {
            let fitting = "Equal, NotEqual, Prefix, NotPrefix, Postfix or NotPostfix";
            return values.misfit(other, kind_name(kind), fitting, errors);
        }
    };
    let values = values.read(errors, |text| value::text(text, kind, place))?;
    Some(Test::Text { place, negate, values })
}

fn sock_test(operator: Op, values: &Values<'_>, errors: &mut Errors) -> Option<Test> {
    let side = match operator {
        Op::SAddr | Op::NotSAddr | Op::SPort | Op::NotSPort | Op::SPortPriv | Op::NotSPortPriv => {
            Side::Source
        }
        _ => Side::Destination,
    };
    let negate = matches!(
        operator,
        Op::NotSAddr
            | Op::NotDAddr
            | Op::NotSPort
            | Op::NotDPort
            | Op::NotSPortPriv
            | Op::NotDPortPriv
    );
    Some(match operator {
        Op::SAddr | Op::NotSAddr | Op::DAddr | Op::NotDAddr => {
            Test::Addr { side, negate, networks: values.read(errors, value::network)? }
        }
        Op::SPort | Op::NotSPort | Op::DPort | Op::NotDPort => {
            Test::Port { side, negate, ranges: values.ranges(errors, value::ports)? }
        }
        Op::SPortPriv | Op::NotSPortPriv | Op::DPortPriv | Op::NotDPortPriv => {
            values.none(errors);
            Test::Port { side, negate, ranges: vec![0..=1023] }
        }
        Op::Protocol => {
            Test::Protocol { values: values.ranges(errors, |text| value::named(text, &PROTOCOLS))? }
        }
        Op::Family => {
            Test::Family { values: values.ranges(errors, |text| value::named(text, &FAMILIES))? }
        }
        Op::State => {
            Test::State { values: values.ranges(errors, |text| value::named(text, &STATES))? }
        }
        other => {
            let fitting = "SAddr, DAddr, SPort, DPort, SPortPriv, DPortPriv and their Not forms, Protocol, Family or State";
            return values.misfit(other, "sock", fitting, errors);
        }
    })
}
