//! What limit files say, as numbers (pure).

use std::fmt;

/// The number from which on a limit of version 1 means "none": it is the largest number of bytes that is a
/// multiple of the page size, which differs from machine to machine.
const V1_UNLIMITED: u64 = 1 << 62;

/// What said how much memory there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LimitKind {
    /// `memory.max` of a control group, version 2: beyond it the group's processes are killed.
    CgroupMax,
    /// `memory.high` of a control group, version 2: beyond it they are throttled.
    CgroupHigh,
    /// `memory.limit_in_bytes` of a control group, version 1.
    CgroupV1,
    /// `hierarchical_memory_limit` in `memory.stat`, version 1: that of the groups above as well, also where they
    /// cannot be seen.
    CgroupV1Hierarchy,
    /// `MemTotal` in `meminfo`: the host's memory, since no group has less.
    Physical,
}

impl LimitKind {
    /// Reads the text of a file of this kind.
    ///
    /// # Errors
    /// If it does not say what such a file says.
    pub(super) fn parse(self, text: &str) -> Result<Said, NotUnderstood> {
        match self {
            LimitKind::CgroupMax | LimitKind::CgroupHigh => parse_v2(text),
            LimitKind::CgroupV1 => parse_v1(text),
            LimitKind::CgroupV1Hierarchy => match value_of(text, "hierarchical_memory_limit") {
                Some(number) => parse_v1(number),
                // A group with its own accounting switched off has a file without the line.
                None => Ok(Said::NoLimit),
            },
            LimitKind::Physical => parse_total(text),
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitKind::CgroupMax => "the control group's maximum",
            LimitKind::CgroupHigh => "the control group's high mark",
            LimitKind::CgroupV1 => "the control group's limit",
            LimitKind::CgroupV1Hierarchy => "the limit of the control groups above",
            LimitKind::Physical => "the host's memory",
        })
    }
}

/// What a limit file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Bytes(u64),
    NoLimit,
}

/// The text is not that of a limit file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotUnderstood;

/// A number of bytes, or `max`.
fn parse_v2(text: &str) -> Result<Said, NotUnderstood> {
    match text.trim() {
        "max" => Ok(Said::NoLimit),
        number => number.parse().map(Said::Bytes).map_err(|_| NotUnderstood),
    }
}

/// A number of bytes; "none" is a huge one, or −1.
fn parse_v1(text: &str) -> Result<Said, NotUnderstood> {
    match text.trim() {
        "-1" => Ok(Said::NoLimit),
        number => match number.parse() {
            Ok(V1_UNLIMITED..) => Ok(Said::NoLimit),
            Ok(bytes) => Ok(Said::Bytes(bytes)),
            Err(_) => Err(NotUnderstood),
        },
    }
}

/// `MemTotal:` and a number of KiB.
fn parse_total(text: &str) -> Result<Said, NotUnderstood> {
    let kib = value_of(text, "MemTotal:").and_then(|value| value.strip_suffix("kB"));
    let kib: Option<u64> = kib.and_then(|number| number.trim().parse().ok());
    match kib.and_then(|kib| kib.checked_mul(1024)) {
        Some(0) | None => Err(NotUnderstood),
        Some(bytes) => Ok(Said::Bytes(bytes)),
    }
}

/// What follows `name` in its line.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .find(|rest| rest.starts_with(char::is_whitespace))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_has_a_word_for_no_limit() {
        let parse = |text| LimitKind::CgroupMax.parse(text);
        assert_eq!(parse("max\n"), Ok(Said::NoLimit));
        assert_eq!(parse("536870912\n"), Ok(Said::Bytes(512 << 20)));
        assert_eq!(parse("0\n"), Ok(Said::Bytes(0)), "nothing is allowed");
        for junk in [
            "",
            "\n",
            "maximum",
            "-1",
            "12 kB",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(junk), Err(NotUnderstood), "{junk:?}");
        }
    }

    #[test]
    fn version_1_has_a_huge_number_for_no_limit() {
        let parse = |text| LimitKind::CgroupV1.parse(text);
        // Of machines with pages of 4 KiB and 64 KiB, and what very old ones say.
        for none in ["9223372036854771712\n", "9223372036854710272\n", "-1\n"] {
            assert_eq!(parse(none), Ok(Said::NoLimit), "{none}");
        }
        assert_eq!(parse("18446744073709551615"), Ok(Said::NoLimit));
        assert_eq!(parse("268435456\n"), Ok(Said::Bytes(256 << 20)));
        assert_eq!(parse("max"), Err(NotUnderstood));
    }

    #[test]
    fn the_hierarchy_s_limit_is_a_line_among_others() {
        let parse = |text| LimitKind::CgroupV1Hierarchy.parse(text);
        let text =
            "cache 0\nrss 4096\nhierarchical_memory_limit 104857600\nhierarchical_memsw_limit 1\n";
        assert_eq!(parse(text), Ok(Said::Bytes(100 << 20)));
        let none = "hierarchical_memory_limit 9223372036854771712\n";
        assert_eq!(parse(none), Ok(Said::NoLimit));
        assert_eq!(parse("cache 0\n"), Ok(Said::NoLimit));
        assert_eq!(parse("hierarchical_memory_limit x\n"), Err(NotUnderstood));
    }

    #[test]
    fn the_host_s_memory_is_in_kib() {
        let parse = |text| LimitKind::Physical.parse(text);
        let text = "MemTotal:       24640712 kB\nMemFree:        12345 kB\n";
        assert_eq!(parse(text), Ok(Said::Bytes(24_640_712 << 10)));
        for junk in [
            "",
            "MemTotal: 0 kB",
            "MemTotal: many kB",
            "MemTotal: 5",
            "MemTotals: 5 kB",
        ] {
            assert_eq!(parse(junk), Err(NotUnderstood), "{junk:?}");
        }
    }
}
