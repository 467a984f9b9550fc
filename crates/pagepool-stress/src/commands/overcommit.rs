//! `overcommit`: more folios than memory, and a swap device that works.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::PagePool;

use super::{
    BadInput, Errand, groups, nr_cpus,
    paging::{EPOCH, Measurement, PATIENCE, Paging},
    report, set_up,
};
use crate::{
    cli::{Common, Overcommit},
    container::{self, Container, Followed, Hand},
    interrupt::Interrupt,
    phase::{self, Daemons, Length, Movable, Plan, Size, Watch},
    player::paging::Trust,
    report::{Facts, Report},
    swapping::SwapPlan,
    tally::Violations,
};

/// How long folios are touched unless the user says.
pub(super) const DURATION: Duration = Duration::from_secs(15);

/// Fills the set, touches it and measures.
pub(crate) fn perform(
    common: &Common,
    options: &Overcommit,
    errand: &Errand,
) -> Result<Report, BadInput> {
    if let Some(nr) = options.groups.groups {
        return groups::perform(common, options, usize::from(nr), errand);
    }
    let threads = common.threads_or(nr_cpus());
    let load = &options.load;
    let paging = Paging::new(
        common,
        load,
        options.factor,
        Trust::Sound,
        threads,
        errand.seed,
    );
    let duration = common.duration.unwrap_or(DURATION);
    let container = match options.container_cut {
        true => Some(Arc::new(Container::with_share(common.paging_bytes())?)),
        false => None,
    };
    let size = container.clone().map(Size::Container);
    let plan = Plan {
        name: "overcommit".to_owned(),
        size: size.unwrap_or_else(|| common.paging_size()),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::for_pages(
            paging.facts.pages,
            common.swap.as_ref(),
        )),
        patience: Some(PATIENCE),
        epoch: EPOCH,
        events: 0,
        length: Length::After(duration),
    };
    let facts = Facts {
        load: format!(
            "{}; folios are filled, touched and verified",
            paging.facts.describe()
        ),
        ..Facts::default()
    };
    let house = set_up(threads, errand)?;
    let mut watch = Cut {
        measurement: Measurement::new(&house),
        container,
        delay: duration / 2,
        interrupt: errand.interrupt.clone(),
        hand: None,
        followed: None,
    };
    let outcome = phase::perform(&plan, &house, paging.players, &mut watch)?;
    let paged = watch.measurement.report(paging.facts);
    let mut report = report(errand, &[(facts, outcome)]);
    report.add_paging(paged);
    report.container_cut = watch.followed.map(Into::into);
    Ok(report)
}

/// Measures, and has the container's limit cut meanwhile, if there is a container.
struct Cut<'a> {
    measurement: Measurement<'a>,
    container: Option<Arc<Container>>,
    delay: Duration,
    interrupt: Interrupt,
    hand: Option<Hand>,
    followed: Option<Followed>,
}

impl Watch for Cut<'_> {
    fn epoch(&mut self, pool: &PagePool, epoch: u64) {
        self.measurement.epoch(pool, epoch);
        if let (0, Some(container)) = (epoch, &self.container) {
            let (container, pool) = (Arc::clone(container), pool.clone());
            let hand = container::cut(container, pool, self.delay, self.interrupt.clone());
            self.hand = Some(hand.expect("the system has a thread more"));
        }
    }

    fn held(&mut self, pool: &PagePool, violations: &mut Violations) {
        self.measurement.held(pool, violations);
        let Some(hand) = self.hand.take() else {
            return;
        };
        match hand.join() {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(followed))) => {
                if followed.within.is_none() {
                    violations.add(format_args!(
                        "the pool has {} bytes, and its share of the container is {}",
                        followed.budget, followed.share
                    ));
                }
                self.followed = Some(followed);
            }
            Ok(Err(error)) => violations.add(format_args!("the limit could not be cut: {error}")),
            Err(_) => violations.add("the thread that cuts the limit has panicked"),
        }
    }
}
