//! What of a group is left to it when memory is taken for others (pure).
//!
//! *Kernel counterpart:* `mem_cgroup_protected` (v5.0), and the scaling of later kernels: beyond what is
//! protected, a group is looked at in proportion to what it has beyond.
//!
//! A group claims as much protection as it was given, and as it has. What its parent is left is divided
//! among those who claim it, in proportion, where they claim more than that.

/// A group at a moment, as far as one kind of protection goes. In pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// What it has.
    pub(crate) usage: usize,
    /// What it was given as protection.
    pub(crate) limit: usize,
}

impl Claim {
    /// What it claims.
    pub(crate) fn claimed(self) -> usize {
        self.usage.min(self.limit)
    }

    /// What of it is protected, if its parent has `parent` to give, and its children claim `all` of that
    /// together, this one included.
    pub(crate) fn granted(self, parent: usize, all: usize) -> usize {
        let claimed = self.claimed();
        if all <= parent {
            return claimed;
        }
        // All claims are of memory that there is, so that the product fits.
        let share = claimed as u128 * parent as u128 / all as u128;
        share as usize
    }
}

/// What of a group is protected, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Protection {
    /// In any case.
    pub(crate) min: usize,
    /// As long as there is another way.
    pub(crate) low: usize,
}

/// Whether anything of a group is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing, whatever happens to others.
    Never,
    /// Nothing, as long as there is another way.
    NotYet,
    /// Pages beyond those protected, of those it has.
    Beyond {
        /// Protected pages.
        protected: usize,
    },
}

impl Protection {
    /// What to take of a group with `usage` pages; `in_need` says that there is no other way.
    pub(crate) fn verdict(self, usage: usize, in_need: bool) -> Verdict {
        if self.min > 0 && usage <= self.min {
            Verdict::Never
        } else if in_need {
            Verdict::Beyond {
                protected: self.min,
            }
        } else if self.low > 0 && usage <= self.low {
            Verdict::NotYet
        } else {
            Verdict::Beyond {
                protected: self.min.max(self.low),
            }
        }
    }
}

/// How many of `pages` on a list are looked at for once, if `protected` of the group's `usage` are not to
/// be.
pub(crate) fn beyond(pages: usize, usage: usize, protected: usize) -> usize {
    if protected == 0 || usage == 0 {
        return pages;
    }
    let free_to_take = usage.saturating_sub(protected);
    // Rounded up: a short list is not passed over.
    (pages as u128 * free_to_take as u128).div_ceil(usage as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(usage: usize, limit: usize) -> Claim {
        Claim { usage, limit }
    }

    #[test]
    fn a_group_claims_what_it_was_given_and_has() {
        assert_eq!(claim(10, 30).claimed(), 10);
        assert_eq!(claim(30, 10).claimed(), 10);
        assert_eq!(claim(30, 10).granted(100, 10), 10);
    }

    #[test]
    fn what_a_parent_cannot_give_is_divided_in_proportion() {
        // 60 and 20 of 40.
        assert_eq!(claim(60, 80).granted(40, 80), 30);
        assert_eq!(claim(20, 20).granted(40, 80), 10);
        assert_eq!(claim(20, 20).granted(0, 80), 0);
    }

    #[test]
    fn protection_holds_up_to_its_amount_and_the_lower_one_longer() {
        let protection = Protection { min: 10, low: 20 };
        assert_eq!(protection.verdict(10, true), Verdict::Never);
        assert_eq!(protection.verdict(20, false), Verdict::NotYet);
        assert_eq!(
            protection.verdict(20, true),
            Verdict::Beyond { protected: 10 }
        );
        assert_eq!(
            protection.verdict(21, false),
            Verdict::Beyond { protected: 20 }
        );
        let none = Protection::default();
        assert_eq!(none.verdict(0, false), Verdict::Beyond { protected: 0 });
    }

    #[test]
    fn lists_are_looked_at_in_proportion_to_what_is_not_protected() {
        assert_eq!(beyond(1000, 4000, 0), 1000);
        assert_eq!(beyond(1000, 4000, 3000), 250);
        assert_eq!(beyond(3, 4000, 3999), 1);
        assert_eq!(beyond(1000, 4000, 5000), 0);
    }
}
