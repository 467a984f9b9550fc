//! Answers to questions about a pool, in one line each.

#![forbid(unsafe_code)]

use super::{Inner, PagePool};
use crate::alloc::{Purpose, scope};
use crate::diagnosis::Standing;
use crate::diagnosis::{
    Explanation, SwapFacts, SwapVerdict, ZoneReport, deciding, remedy_for, swap_verdict,
};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::Walk;
use crate::node::daemon_post::MAX_RECLAIM_RETRIES;
use crate::reclaim::Obstacle;
use crate::sync::cpu;
use crate::types::{NodeMask, Order};
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::{AllocFlags, Mark};

impl PagePool {
    /// Answers "there is free memory: why does my allocation fail?": whether a block of `order` could be had
    /// now without reclaiming or compacting, why not, and what would help. Prints as one line.
    ///
    /// ```
    /// use pagepool::{Gfp, Order, PagePool};
    ///
    /// let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let answer = pool.explain(Order::new(4)?, Gfp::KERNEL);
    /// assert!(answer.cause.is_none());
    /// println!("{answer}"); // Normal of node 0 has 16221 pages free and can serve order 4
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(&self, order: Order, gfp: Gfp) -> Explanation {
        self.inner.explain(order, gfp)
    }

    /// Answers "why is nothing being swapped?". Prints as one line.
    #[must_use]
    pub fn explain_swap(&self) -> SwapVerdict {
        swap_verdict(self.inner.swap_facts())
    }
}

impl Inner {
    fn explain(&self, order: Order, gfp: Gfp) -> Explanation {
        let gfp = scope::restrict(gfp);
        let class = self.nodes.class_or_above(Purpose::Raw.class(order, gfp));
        let walk = Walk {
            order,
            want: gfp.migratetype(),
            class,
            preferred: self.nodes.of_cpu(cpu::current()),
            mask: NodeMask::ALL,
        };
        let zones = { self.nodes.eligible(&walk) }
            .map(|zone| ZoneReport::of(zone, order, class, AllocFlags::empty()));
        let zone = deciding(zones);
        let cause = match zone.map(|zone| zone.standing) {
            Some(Standing::Passes) => None,
            Some(Standing::Fragmented) => Some(AllocError::Fragmented),
            Some(Standing::Reserved) => Some(AllocError::LowmemReserve),
            Some(Standing::BelowMark) => Some(AllocError::BelowMin),
            Some(Standing::TooSmall) | None => Some(AllocError::NeverFits),
        };
        let remedy = cause.map(|cause| {
            let mut facts = self.facts_of(cause, order, gfp);
            let memory = self.memory_figures();
            (facts.anon, facts.file) = (memory.anon, memory.file);
            remedy_for(&facts)
        });
        Explanation {
            order,
            cause,
            zone,
            remedy,
        }
    }

    fn swap_facts(&self) -> SwapFacts {
        let memory = self.memory_figures();
        let zones = self.nodes.zones().filter(|zone| zone.is_managed());
        let scarcest = zones
            .map(|zone| {
                let [low, high] = [Mark::Low, Mark::High].map(|mark| zone.mark(mark));
                (zone.free_pages(), low, high)
            })
            .min_by_key(|(free, _, high)| *free as i64 - *high as i64);
        let (free, low, high) = scarcest.unwrap_or_default();
        let nodes = || self.nodes.iter();
        SwapFacts {
            total: memory.swap_total,
            vacant: memory.swap_free,
            is_stalled: self.reclaim.obstacle() == Some(Obstacle::Stalled),
            anon: memory.anon,
            file: memory.file,
            locked: memory.locked,
            free,
            high,
            low,
            swappiness: self.reclaim.swappiness(),
            has_kswapd: nodes().any(|node| node.kswapd.state().is_in_service()),
            failures: nodes()
                .map(|node| node.kswapd.failures())
                .max()
                .unwrap_or(0),
            hopeless: MAX_RECLAIM_RETRIES,
            swapped: self.nodes.events().sum(VmEvent::Pswpout),
        }
    }
}
