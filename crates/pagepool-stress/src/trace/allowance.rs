//! How many events a trace may have for what was read of it: a file of a few lines is not to fill the memory.
//!
//! One line may stand for many events: a request touches all pages that it overlaps, a large object has many blocks.
//! In real traces that comes to a few dozen events a line at most; a file whose sizes are absurd would have millions.
#![forbid(unsafe_code)]

/// Events that any trace may have, however short it is: 8 MiB once read, or a gigabyte of pages in one request four
/// times over.
const FREE: usize = 1 << 20;

/// Events for each byte of a trace: requests of 4 MiB, in lines of 16 bytes.
const PER_BYTE: usize = 64;

/// Events beyond which a trace is refused; 2 to 4 GiB of memory once read.
const MOST: usize = 500_000_000;

/// The events that a trace may have so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance(FREE)
    }
}

impl Allowance {
    /// So many bytes of the trace were read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes.saturating_mul(PER_BYTE));
    }

    /// Whether there may be another event after `events` of them; `what` is their name.
    pub(crate) fn check(self, events: usize, what: &str) -> Result<(), String> {
        if events >= MOST {
            return Err(format!("more than {MOST} {what}"));
        }
        if events >= self.0 {
            return Err(format!(
                "more than {} {what} so far: accepted are {FREE}, and {PER_BYTE} for each byte read; the sizes are \
                 absurd",
                self.0
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::*;

    /// A line of ten bytes took 2 MiB once it was read, and a file of 20 KiB took 4 GiB, or a minute to be refused. What
    /// a trace may stand for grows with what was read of it.
    #[test]
    fn a_few_lines_of_absurd_sizes_are_refused_early() {
        for (name, line, place) in [
            ("t.mtr", "a {} 1099511627776\n", "line 5: "),
            ("t.malloc.txt", "Alloc(1099511627776),\n", "line 5: "),
            ("OLTP.lis", "0 262144 0 {}\n", "line 5: "),
            ("t.vscsi.csv", "1,{},28,1073741824,0\n", "line 5: "),
        ] {
            let text: String = (0..1000)
                .map(|n| line.replace("{}", &n.to_string()))
                .collect();
            let error = parse(name, text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name}: {place}more than 10")),
                "{error}"
            );
            assert!(error.contains("the sizes are absurd"), "{error}");
        }
    }

    #[test]
    fn long_traces_of_large_requests_are_read() {
        let text: String = (0..20_000)
            .map(|n| format!("1,{n},28,524288,{}\n", n * 1024))
            .collect();
        assert!(parse("t.vscsi.csv", text.as_bytes()).is_ok());
    }
}
