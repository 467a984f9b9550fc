//! The settings as a list of names and texts, for files of settings and command lines.
//!
//! *Kernel counterpart:* `vm_table`, the files below `/proc/sys/vm` (v5.0). What is read can be written back.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{
    Tunables, accepted_extfrag_threshold, accepted_fraction, accepted_min_free,
    accepted_page_cluster, accepted_proactiveness, accepted_scale_factor, accepted_swappiness,
    accepted_thrashing_limit, most_min_free,
};
use crate::error::RangeError;
use crate::types::NR_ZONES;

/// A setting as text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tunable {
    /// Its name: the kernel's, if there is one.
    pub name: &'static str,
    /// What it is now, as [`Tunables::set`] takes it.
    pub value: String,
    /// What it may be, for people.
    pub accepted: String,
}

/// How a setting is read and written as text.
struct Entry {
    name: &'static str,
    value: fn(&Tunables<'_>) -> String,
    accepted: fn(&Tunables<'_>) -> String,
    /// None if the text is no value of its kind at all.
    set: fn(&Tunables<'_>, &str) -> Option<Result<(), RangeError>>,
}

/// What stands for the lack of a limit, and for never.
const MAX: &str = "max";
const NEVER: &str = "never";

/// Sets what a text says, if it says something.
fn parsed<T: FromStr>(
    text: &str,
    set: impl FnOnce(T) -> Result<(), RangeError>,
) -> Option<Result<(), RangeError>> {
    text.parse().ok().map(set)
}

fn any(most: impl fmt::Display) -> String {
    format!("0 to {most}")
}

/// By name, in the order of the alphabet.
const ENTRIES: [Entry; 14] = [
    Entry {
        name: "compaction_proactiveness",
        value: |t| t.compaction_proactiveness().to_string(),
        accepted: |_| accepted_proactiveness(),
        set: |t, text| parsed(text, |percent| t.set_compaction_proactiveness(percent)),
    },
    Entry {
        name: "extfrag_threshold",
        value: |t| t.extfrag_threshold().to_string(),
        accepted: |_| accepted_extfrag_threshold(),
        set: |t, text| parsed(text, |threshold| t.set_extfrag_threshold(threshold)),
    },
    Entry {
        name: "laptop_mode",
        value: |t| t.laptop_mode().to_string(),
        accepted: |_| any(u32::MAX),
        set: |t, text| parsed(text, |seconds| t.set_laptop_mode(seconds)),
    },
    Entry {
        name: "lowmem_reserve_ratio",
        value: |t| {
            t.lowmem_reserve_ratio()
                .map(|ratio| ratio.to_string())
                .join(" ")
        },
        accepted: |_| {
            format!(
                "three numbers, 0 to {}, for DMA, Normal and Movable",
                u32::MAX
            )
        },
        set: |t, text| Some(t.set_lowmem_reserve_ratio(ratios(text)?)),
    },
    Entry {
        name: "min_free_kbytes",
        value: |t| t.min_free_kbytes().to_string(),
        accepted: |t| accepted_min_free(most_min_free(t.inner.nodes.lowmem_pages())),
        set: |t, text| parsed(text, |kbytes| t.set_min_free_kbytes(kbytes)),
    },
    Entry {
        name: "page_cluster",
        value: |t| t.page_cluster().to_string(),
        accepted: |_| accepted_page_cluster(),
        set: |t, text| parsed(text, |log| t.set_page_cluster(log)),
    },
    Entry {
        name: "percpu_pagelist_fraction",
        value: |t| t.percpu_pagelist_fraction().to_string(),
        accepted: |_| accepted_fraction(),
        set: |t, text| parsed(text, |fraction| t.set_percpu_pagelist_fraction(fraction)),
    },
    Entry {
        name: "report_after",
        value: |t| match t.report_after() {
            Some(after) => format!("{}", after.as_nanos()),
            None => NEVER.into(),
        },
        accepted: |_| format!("{} nanoseconds, or `{NEVER}`", any(u64::MAX - 1)),
        set: |t, text| Some(t.set_report_after(report_after(text)?)),
    },
    Entry {
        name: "swappiness",
        value: |t| t.swappiness().to_string(),
        accepted: |_| accepted_swappiness(),
        set: |t, text| parsed(text, |swappiness| t.set_swappiness(swappiness)),
    },
    Entry {
        name: "thrashing_limit",
        value: |t| t.thrashing_limit().to_string(),
        accepted: |_| accepted_thrashing_limit(),
        set: |t, text| parsed(text, |percent| t.set_thrashing_limit(percent)),
    },
    Entry {
        name: "trim_threshold",
        value: |t| match t.trim_threshold() {
            usize::MAX => MAX.into(),
            bytes => bytes.to_string(),
        },
        accepted: |_| format!("{} bytes, or `{MAX}`", any(usize::MAX)),
        set: |t, text| match text {
            MAX => Some(t.set_trim_threshold(usize::MAX)),
            bytes => parsed(bytes, |bytes| t.set_trim_threshold(bytes)),
        },
    },
    Entry {
        name: "vfs_cache_pressure",
        value: |t| t.vfs_cache_pressure().to_string(),
        accepted: |_| any(u32::MAX),
        set: |t, text| parsed(text, |percent| t.set_vfs_cache_pressure(percent)),
    },
    Entry {
        name: "watermark_boost_factor",
        value: |t| t.watermark_boost_factor().to_string(),
        accepted: |_| any(u32::MAX),
        set: |t, text| parsed(text, |factor| t.set_watermark_boost_factor(factor)),
    },
    Entry {
        name: "watermark_scale_factor",
        value: |t| t.watermark_scale_factor().to_string(),
        accepted: |_| accepted_scale_factor(),
        set: |t, text| parsed(text, |factor| t.set_watermark_scale_factor(factor)),
    },
];

fn ratios(text: &str) -> Option<[u32; NR_ZONES]> {
    let ratios: Option<Vec<u32>> = { text.split_whitespace() }
        .map(|ratio| ratio.parse().ok())
        .collect();
    ratios?.try_into().ok()
}

/// None if the text says neither a time nor never.
fn report_after(text: &str) -> Option<Option<Duration>> {
    if text == NEVER {
        return Some(None);
    }
    let nanos: u64 = text.parse().ok()?;
    // All ones mean never inside, and who wants that says so.
    (nanos != u64::MAX).then_some(Some(Duration::from_nanos(nanos)))
}

/// Whether a name is meant: also as `sysctl` writes it.
fn is_called(name: &str, entry: &str) -> bool {
    let name = name.strip_prefix("vm.").unwrap_or(name);
    name.chars()
        .map(|letter| if letter == '-' { '_' } else { letter })
        .eq(entry.chars())
}

impl<'a> Tunables<'a> {
    /// Lists all settings by name, each with what it is now and what it may be.
    pub fn all(&self) -> impl Iterator<Item = Tunable> + use<'a> {
        let tunables = *self;
        ENTRIES.iter().map(move |entry| Tunable {
            name: entry.name,
            value: (entry.value)(&tunables),
            accepted: (entry.accepted)(&tunables),
        })
    }

    /// Sets the setting of this name to what the text says, as a line of a file of settings does: `set` of
    /// what [`all`](Self::all) lists changes nothing. A prefix `vm.` and dashes in the name are as good, so
    /// that `vm.page-cluster` is `page_cluster`.
    ///
    /// ```
    /// # use pagepool::PagePool;
    /// # let pool = PagePool::builder().memory(64 << 20).build()?;
    /// for line in ["swappiness = 10", "vm.lowmem_reserve_ratio = 256 32 0"] {
    ///     let (name, value) = line.split_once('=').unwrap();
    ///     pool.tunables().set(name.trim(), value)?;
    /// }
    /// let error = pool.tunables().set("swappiness", "lots").unwrap_err();
    /// assert_eq!(error.to_string(), "swappiness = lots is out of range: accepted is 0 to 200");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A value out of range, or none at all, with what is accepted; a name that is none, as the field
    /// `tunable`, with all that are.
    pub fn set(&self, name: &str, value: &str) -> Result<(), RangeError> {
        let value = value.trim();
        let Some(entry) = ENTRIES.iter().find(|entry| is_called(name, entry.name)) else {
            let names = ENTRIES.map(|entry| entry.name).join(", ");
            return Err(RangeError::new(
                "tunable",
                name,
                format_args!("one of {names}"),
            ));
        };
        (entry.set)(self, value)
            .unwrap_or_else(|| Err(RangeError::new(entry.name, value, (entry.accepted)(self))))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pool::PagePool;

    fn pool() -> PagePool {
        let builder = PagePool::builder().memory(16 << 20).daemons(false);
        builder.build().unwrap()
    }

    /// For each setting one value that it does not have, and one that is none of its.
    const VALUES: [(&str, &str, &str); ENTRIES.len()] = [
        ("compaction_proactiveness", "17", "101"),
        ("extfrag_threshold", "0", "1001"),
        ("laptop_mode", "5", "4294967296"),
        ("lowmem_reserve_ratio", "128 16 1", "1 2"),
        ("min_free_kbytes", "256", "999999999"),
        ("page_cluster", "1", "6"),
        ("percpu_pagelist_fraction", "8", "7"),
        ("report_after", "1500", "18446744073709551615"),
        ("swappiness", "200", "201"),
        ("thrashing_limit", "80", "101"),
        ("trim_threshold", "4194304", "maximal"),
        ("vfs_cache_pressure", "50", "-1"),
        ("watermark_boost_factor", "0", "much"),
        ("watermark_scale_factor", "1000", "1001"),
    ];

    #[test]
    fn what_is_listed_can_be_set_and_is_read_back() {
        let pool = pool();
        let tunables = pool.tunables();
        let names: Vec<_> = tunables.all().map(|tunable| tunable.name).collect();
        assert_eq!(names, VALUES.map(|(name, ..)| name));
        assert!(names.is_sorted());
        for (n, (name, value, _)) in VALUES.into_iter().enumerate() {
            let before: Vec<_> = tunables.all().collect();
            assert_ne!(before[n].value, value, "{name}: no change");
            tunables.set(name, &before[n].value).unwrap();
            assert_eq!(tunables.all().collect::<Vec<_>>(), before, "{name}");
            tunables.set(name, value).unwrap();
            for (after, before) in tunables.all().zip(before) {
                let expected = if after.name == name {
                    value
                } else {
                    &before.value
                };
                assert_eq!(after.value, expected, "{} after {name}", after.name);
            }
        }
    }

    #[test]
    fn each_value_out_of_range_names_its_range_and_changes_nothing() {
        let pool = pool();
        let tunables = pool.tunables();
        for (name, _, wrong) in VALUES {
            let before: Vec<_> = tunables.all().collect();
            let accepted = before.iter().find(|one| one.name == name).unwrap();
            for wrong in [wrong, "", "x1", "1x", "-1", "1.5"] {
                let error = tunables.set(name, wrong).unwrap_err();
                assert_eq!((error.field(), error.value()), (name, wrong));
                assert_eq!(error.accepted(), accepted.accepted, "{name} = {wrong}");
            }
            assert_eq!(tunables.all().collect::<Vec<_>>(), before, "{name}");
        }
    }

    #[test]
    fn limits_and_times_that_are_none_have_words() {
        let pool = pool();
        let tunables = pool.tunables();
        for (name, word) in [("trim_threshold", "max"), ("report_after", "never")] {
            tunables.set(name, word).unwrap();
            let value = |tunable: Tunable| (tunable.name == name).then_some(tunable.value);
            assert_eq!(tunables.all().find_map(value).as_deref(), Some(word));
        }
        assert_eq!(
            (tunables.trim_threshold(), tunables.report_after()),
            (usize::MAX, None)
        );
    }

    /// A fuzzer wrote an escape in place of a blank: the message went on to the terminal as it was. Whatever the
    /// value is, the message is one line that can be read, and not a long one.
    #[test]
    fn a_message_shows_what_can_be_printed_of_any_value() {
        let pool = pool();
        let told =
            |name: &str, value: &str| pool.tunables().set(name, value).unwrap_err().to_string();
        let line = told("swappiness", "1\u{1b}[2J\n2");
        assert!(
            line.starts_with(r"swappiness = 1\u{1b}[2J\n2 is out of range"),
            "{line}"
        );
        assert!(told("min_free\u{1b}", "1").starts_with(r"tunable = min_free\u{1b} is"));
        assert!(told("swappiness", &"9".repeat(1 << 20)).len() < 200);
    }

    #[test]
    fn names_may_be_written_as_sysctl_does() {
        let pool = pool();
        let tunables = pool.tunables();
        tunables.set("vm.page-cluster", " 4\n").unwrap();
        assert_eq!(tunables.page_cluster(), 4);
        for name in [
            "",
            "vm.",
            "swap",
            "swappiness2",
            "vm.vm.swappiness",
            "drop_caches",
        ] {
            let error = tunables.set(name, "1").unwrap_err();
            assert_eq!((error.field(), error.value()), ("tunable", name));
            for tunable in tunables.all() {
                assert!(error.accepted().contains(tunable.name), "{error}");
            }
        }
    }
}
