//! One group: its place in the tree, its count, its limits, what happened to it.

use super::counter::{PageCounter, UNLIMITED};
use super::limits::{self, GroupLimits};
use super::protection::Claim;
use crate::psi::PsiState;
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::fence::ordering_at;
use crate::types::{GroupId, PAGE_SIZE};

macro_rules! group_items {
    ($($(#[$doc:meta])* $variant:ident,)+) => {
        /// What is counted of a group by itself, without those below it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub(crate) enum GroupItem {
            $($(#[$doc])* $variant,)+
        }

        /// How many there are.
        pub(crate) const NR_GROUP_ITEMS: usize = [$(stringify!($variant),)+].len();
    };
}

group_items! {
    /// Pages of anonymous folios in memory.
    Anon,
    /// Pages of backed folios in memory.
    File,
    /// Pages of raw blocks.
    Raw,
    /// Pages looked at by reclaim.
    Scanned,
    /// Pages reclaimed.
    Stolen,
    /// Pages of folios that came back although they had been evicted.
    Refaulted,
    /// Times that something was taken of it though it had no more than its low limit.
    LowBroken,
    /// Times that somebody who took it beyond its high limit had to reclaim from it.
    HighReached,
    /// Times that it was at its limit when somebody wanted more.
    MaxReached,
    /// Requests that were refused for that.
    Refused,
}

/// One group, or a place for one.
#[derive(Debug)]
pub(crate) struct GroupSlot {
    /// Its count, against the limit that it never exceeds.
    pub(super) counter: PageCounter,
    is_live: AtomicBool,
    parent: AtomicU8,
    depth: AtomicU8,
    min: AtomicUsize,
    low: AtomicUsize,
    soft: AtomicUsize,
    high: AtomicUsize,
    oom_score_adj: AtomicI64,
    /// Folios, in memory or away, and raw blocks.
    members: AtomicUsize,
    handles: AtomicUsize,
    items: [AtomicU64; NR_GROUP_ITEMS],
    /// For how long its threads have waited for memory.
    psi: PsiState,
}

impl Default for GroupSlot {
    fn default() -> GroupSlot {
        GroupSlot {
            counter: PageCounter::default(),
            is_live: AtomicBool::new(false),
            parent: AtomicU8::new(0),
            depth: AtomicU8::new(0),
            min: AtomicUsize::new(0),
            low: AtomicUsize::new(0),
            soft: AtomicUsize::new(UNLIMITED),
            high: AtomicUsize::new(UNLIMITED),
            oom_score_adj: AtomicI64::new(0),
            members: AtomicUsize::new(0),
            handles: AtomicUsize::new(0),
            items: std::array::from_fn(|_| AtomicU64::new(0)),
            psi: PsiState::new(),
        }
    }
}

// Relaxed, where nothing else is said: settings and numbers by themselves. The place in the tree is written
// before the group is live.
impl GroupSlot {
    /// Whether there is a group here.
    pub(crate) fn is_live(&self) -> bool {
        // Acquire: who finds a group finds its place in the tree. Pairs with `open`.
        self.is_live
            .load(ordering_at("group.find", Ordering::Acquire))
    }

    /// The group above.
    #[inline]
    pub(crate) fn parent(&self) -> GroupId {
        GroupId::at(usize::from(self.parent.load(Ordering::Relaxed)))
    }

    /// Groups above it, the root not counted.
    pub(super) fn depth(&self) -> u8 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Makes this the place of a new group.
    pub(super) fn open(&self, parent: GroupId, depth: u8) {
        self.parent.store(parent.get() as u8, Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
        self.handles.store(1, Ordering::Relaxed);
        self.oom_score_adj.store(0, Ordering::Relaxed);
        for item in &self.items {
            item.store(0, Ordering::Relaxed);
        }
        self.counter.forget_peak();
        self.psi.begin_anew();
        // Release: pairs with `is_live`.
        self.is_live
            .store(true, ordering_at("group.open", Ordering::Release));
    }

    /// The group is gone.
    pub(super) fn close(&self) {
        self.is_live.store(false, Ordering::Relaxed);
    }

    /// For how long its threads have waited for memory.
    pub(crate) fn psi(&self) -> &PsiState {
        &self.psi
    }

    /// How readily it is named when memory must be given up.
    pub(crate) fn oom_score_adj(&self) -> i16 {
        self.oom_score_adj.load(Ordering::Relaxed) as i16
    }

    pub(crate) fn set_oom_score_adj(&self, adj: i16) {
        self.oom_score_adj.store(i64::from(adj), Ordering::Relaxed);
    }

    /// Pages that it has, and the groups below it.
    pub(crate) fn pages(&self) -> usize {
        self.counter.pages()
    }

    /// The most pages that it ever had.
    pub(crate) fn peak(&self) -> usize {
        self.counter.peak()
    }

    /// What it may have for long, in pages.
    pub(crate) fn high(&self) -> usize {
        self.high.load(Ordering::Relaxed)
    }

    /// What it may have at all, in pages.
    pub(crate) fn max(&self) -> usize {
        self.counter.max()
    }

    /// How far it is beyond its soft limit, in pages.
    pub(super) fn beyond_soft(&self) -> usize {
        self.pages()
            .saturating_sub(self.soft.load(Ordering::Relaxed))
    }

    /// What it claims of its parent's protection: in any case, and as long as there is another way.
    pub(super) fn claims(&self) -> [Claim; 2] {
        let usage = self.pages();
        [&self.min, &self.low].map(|limit| Claim {
            usage,
            limit: limit.load(Ordering::Relaxed),
        })
    }

    /// Its limits, to whole pages.
    pub(crate) fn limits(&self) -> GroupLimits {
        let bytes = |pages: usize| pages.saturating_mul(PAGE_SIZE);
        GroupLimits::new()
            .min(bytes(self.min.load(Ordering::Relaxed)))
            .low(bytes(self.low.load(Ordering::Relaxed)))
            .soft_limit(bytes(self.soft.load(Ordering::Relaxed)))
            .high(bytes(self.high()))
            .max(bytes(self.max()))
    }

    /// Sets its limits; returns whether waiters must be woken.
    pub(super) fn set_limits(&self, limits: &GroupLimits) -> bool {
        let set = |cell: &AtomicUsize, bytes| cell.store(limits::pages(bytes), Ordering::Relaxed);
        set(&self.min, limits.min_bytes());
        set(&self.low, limits.low_bytes());
        set(&self.soft, limits.soft_limit_bytes());
        set(&self.high, limits.high_bytes());
        self.counter.set_max(limits::pages(limits.max_bytes()))
    }

    /// A folio or raw block belongs to it from now on.
    pub(crate) fn join(&self) {
        self.members.fetch_add(1, Ordering::Relaxed);
    }

    /// One does so no more. Release: who deletes the group, and finds no member, comes after all that was
    /// done with one. Pairs with the Acquire in `members`.
    pub(crate) fn leave(&self, members: usize) {
        self.members
            .fetch_sub(members, ordering_at("group.leave", Ordering::Release));
    }

    /// How many belong to it.
    pub(crate) fn members(&self) -> usize {
        self.members
            .load(ordering_at("group.no_members", Ordering::Acquire))
    }

    /// Another handle to it.
    pub(crate) fn take_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle is gone. Release: as in `leave`.
    pub(crate) fn drop_handle(&self) {
        self.handles
            .fetch_sub(1, ordering_at("group.drop_handle", Ordering::Release));
    }

    /// How many handles there are.
    pub(super) fn handles(&self) -> usize {
        self.handles
            .load(ordering_at("group.no_handles", Ordering::Acquire))
    }

    /// Counts something.
    pub(crate) fn add(&self, item: GroupItem, change: i64) {
        self.items[item as usize].fetch_add(change as u64, Ordering::Relaxed);
    }

    /// What was counted.
    pub(crate) fn item(&self, item: GroupItem) -> u64 {
        self.items[item as usize].load(Ordering::Relaxed)
    }
}
