//! Timestamps as protobuf's JSON writes them: RFC 3339 in UTC with 0, 3, 6 or 9 digits after the second.

use crate::event::WallTime;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// `2026-11-22T01:43:07`
const SECOND_TEXT_LEN: usize = 19;

/// Writes timestamps; remembers the last second, because the events of a busy node share it.
#[derive(Debug, Clone)]
pub struct Rfc3339 {
    second: i64,
    text: [u8; SECOND_TEXT_LEN],
}

impl Default for Rfc3339 {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }
}

impl Rfc3339 {
    /// Appends `time` without quotes.
    pub fn write(&mut self, time: WallTime, out: &mut Vec<u8>) {
        let nanos = self.write_second(time, out);
        if nanos == 0 {
            out.push(b'Z');
            return;
        }
        let digits = fraction(nanos);
        let shown = if nanos.is_multiple_of(1_000_000) {
            3
        } else if nanos.is_multiple_of(1_000) {
            6
        } else {
            9
        };
        out.push(b'.');
        out.extend_from_slice(&digits[..shown]);
        out.push(b'Z');
    }

    /// Appends `time` with always nine digits, so that lines of a terminal stay aligned.
    pub fn write_aligned(&mut self, time: WallTime, out: &mut Vec<u8>) {
        let nanos = self.write_second(time, out);
        out.push(b'.');
        out.extend_from_slice(&fraction(nanos));
        out.push(b'Z');
    }

    /// Returns the nanoseconds that are left.
    fn write_second(&mut self, time: WallTime, out: &mut Vec<u8>) -> u32 {
        let second = time.0.div_euclid(NANOS_PER_SECOND);
        if second != self.second {
            self.second = second;
            self.text = render(second);
        }
        out.extend_from_slice(&self.text);
        u32::try_from(time.0.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0)
    }
}

/// Years reach from 1677 to 2262 in an i64 of nanoseconds, so four digits always hold one.
fn render(second: i64) -> [u8; SECOND_TEXT_LEN] {
    let (year, month, day) = civil(second.div_euclid(SECONDS_PER_DAY));
    let of_day = second.rem_euclid(SECONDS_PER_DAY);
    let mut text = *b"0000-00-00T00:00:00";
    put_two(&mut text, 0, year / 100);
    put_two(&mut text, 2, year % 100);
    put_two(&mut text, 5, month);
    put_two(&mut text, 8, day);
    put_two(&mut text, 11, of_day / 3600);
    put_two(&mut text, 14, of_day / 60 % 60);
    put_two(&mut text, 17, of_day % 60);
    text
}

fn put_two(text: &mut [u8; SECOND_TEXT_LEN], at: usize, number: i64) {
    let number = u8::try_from(number).unwrap_or(0);
    text[at] = b'0' + number / 10 % 10;
    text[at + 1] = b'0' + number % 10;
}

fn fraction(nanos: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    let mut rest = nanos;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    digits
}

/// Days since 1970-01-01 to year, month, day of the proleptic Gregorian calendar.
///
/// Counts from 1 March of year 0, so that the leap day is the last of its year; 146,097 days are 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanos: i64) -> String {
        let mut out = Vec::new();
        Rfc3339::default().write(WallTime(nanos), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn digits_follow_the_value() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_795_311_787_000_000_000), "2026-11-22T01:43:07Z");
        assert_eq!(text(1_795_311_787_310_000_000), "2026-11-22T01:43:07.310Z");
        assert_eq!(text(1_795_311_787_310_793_000), "2026-11-22T01:43:07.310793Z");
        assert_eq!(text(1_795_311_787_310_793_680), "2026-11-22T01:43:07.310793680Z");
        assert_eq!(text(1_795_311_787_000_000_001), "2026-11-22T01:43:07.000000001Z");
    }

    #[test]
    fn calendar_edges() {
        assert_eq!(text(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(text(4_107_542_400_000_000_000), "2100-03-01T00:00:00Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(text(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn the_remembered_second_is_replaced() {
        let mut clock = Rfc3339::default();
        let mut out = Vec::new();
        for second in [5, 5, 6, 5] {
            clock.write(WallTime(second * NANOS_PER_SECOND), &mut out);
        }
        assert_eq!(
            String::from_utf8_lossy(&out),
            "1970-01-01T00:00:05Z1970-01-01T00:00:05Z1970-01-01T00:00:06Z1970-01-01T00:00:05Z"
        );
    }
}
