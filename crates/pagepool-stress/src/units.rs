//! Numbers as people write and read them: sizes, counts, durations, seeds, percentages.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::HugePages;

/// Parses a size: digits and an optional K, M, G or T (powers of 1024), with `iB` or `B` or without.
pub(crate) fn parse_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_scaled(text, 1024, |unit| {
        let unit = unit.strip_suffix('b').unwrap_or(unit);
        unit.strip_suffix('i').unwrap_or(unit).to_owned()
    })
    .ok_or("write a size such as 4096, 64K, 256M or 2G")?;
    usize::try_from(bytes).map_err(|_| "larger than this machine can address".to_owned())
}

/// Parses a size, or `all`, which is [`usize::MAX`].
pub(crate) fn parse_bytes_or_all(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        _ => parse_bytes(text).map_err(|error| format!("{error}, or all")),
    }
}

/// The names of [`HugePages`].
const HUGE_PAGES: [(&str, HugePages); 4] = [
    ("host", HugePages::AsHost),
    ("when-whole", HugePages::WhenWhole),
    ("always", HugePages::Always),
    ("never", HugePages::Never),
];

/// Parses the choice of huge pages.
pub(crate) fn parse_huge_pages(text: &str) -> Result<HugePages, String> {
    let found = HUGE_PAGES.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names = HUGE_PAGES.map(|(name, _)| name).join(", ");
        format!("write one of {names}")
    })
}

/// Parses a count: digits and an optional K, M or G (powers of 1000).
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    parse_scaled(text, 1000, str::to_owned)
        .ok_or_else(|| "write a count such as 500, 64K or 10M".to_owned())
}

fn parse_scaled(text: &str, step: u64, unit_word: impl Fn(&str) -> String) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let number: u64 = text[..digits].replace('_', "").parse().ok()?;
    let power = match unit_word(&text[digits..].trim().to_ascii_lowercase()).as_str() {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    number.checked_mul(step.pow(power))
}

/// Parses a seed: decimal, or hexadecimal after `0x`.
pub(crate) fn parse_seed(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|_| "write a 64-bit number, decimal or as 0x…".to_owned())
}

/// Parses a duration above zero: `500ms`, `30s`, `1m 30s`; a bare number is in seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "write a duration such as 500ms, 30s or 5m")?,
    };
    if duration.is_zero() {
        return Err("a duration above zero is needed".to_owned());
    }
    Ok(duration)
}

/// How much of a trace's footprint a page cache may hold.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum CacheSize {
    /// A share of the trace's distinct pages.
    Percent(f64),
    /// A number of bytes.
    Bytes(usize),
}

impl CacheSize {
    /// Parses `25%` or a size.
    pub(crate) fn parse(text: &str) -> Result<CacheSize, String> {
        let Some(percent) = text.strip_suffix('%') else {
            return match parse_bytes(text) {
                Ok(0..pagepool::PAGE_SIZE) => Err("a size is a page, 4K, or more".to_owned()),
                Ok(bytes) => Ok(CacheSize::Bytes(bytes)),
                Err(_) => Err("write a share such as 10% or a size such as 64M".to_owned()),
            };
        };
        match percent.trim().parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 100.0 => Ok(CacheSize::Percent(share)),
            _ => Err("a share lies above 0% and at most at 100%".to_owned()),
        }
    }

    /// As people write it: `10%`, `64.0 MiB`.
    pub(crate) fn describe(self) -> String {
        match self {
            CacheSize::Percent(share) => format!("{share}%"),
            CacheSize::Bytes(bytes) => human_bytes(bytes as u64),
        }
    }

    /// The cache's limit in pages, at least one, for a trace of `footprint` distinct pages.
    pub(crate) fn pages(self, footprint: u64) -> u64 {
        let pages = match self {
            CacheSize::Percent(share) => (footprint as f64 * share / 100.0).round() as u64,
            CacheSize::Bytes(bytes) => (bytes / pagepool::PAGE_SIZE) as u64,
        };
        pages.max(1)
    }
}

/// Widens a count of the library's, whatever its width.
pub(crate) fn wide(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// Writes a whole number with thousands set apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes bytes in the largest binary unit that leaves a number above one: `78.0 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Writes nanoseconds in a unit that keeps the number short: `870 ns`, `12.3 µs`, `4.56 ms`.
pub(crate) fn human_ns(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_counts_decimal() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("64K"), Ok(64 << 10));
        assert_eq!(parse_bytes("256MiB"), Ok(256 << 20));
        assert_eq!(parse_bytes("2 gb"), Ok(2 << 30));
        assert_eq!(parse_count("10M"), Ok(10_000_000));
        assert_eq!(parse_count("1_000"), Ok(1000));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "K",
            "-1",
            "1.5G",
            "12q",
            "99999999999999999999",
            "9999999T",
        ] {
            assert!(parse_bytes(text).is_err() || text == "9999999T", "{text}");
        }
        assert!(parse_count("12x").is_err());
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("soon").is_err());
        assert!(parse_seed("0xg").is_err());
        assert!(CacheSize::parse("0%").is_err());
        assert!(CacheSize::parse("101%").is_err());
        assert!(CacheSize::parse("NaN%").is_err());
        assert!(CacheSize::parse("4095").is_err());
    }

    #[test]
    fn durations_and_seeds() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_seed("0xff"), Ok(255));
        assert_eq!(parse_seed("7"), Ok(7));
    }

    #[test]
    fn caches_hold_at_least_one_page() {
        assert_eq!(CacheSize::parse("10%").unwrap().pages(275_171), 27_517);
        assert_eq!(CacheSize::parse("1%").unwrap().pages(3), 1);
        assert_eq!(CacheSize::parse("64K").unwrap().pages(1), 16);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(78 << 20), "78.0 MiB");
        assert_eq!(human_ns(870), "870 ns");
        assert_eq!(human_ns(12_345), "12.3 µs");
    }
}
