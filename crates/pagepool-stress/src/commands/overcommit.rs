//! `overcommit`: more folios than memory, and a swap device that works.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::{
    BadInput, Errand, groups, nr_cpus,
    paging::{EPOCH, Measurement, PATIENCE, Paging},
    report, set_up,
};
use crate::{
    cli::{Common, Overcommit},
    phase::{self, Daemons, Length, Movable, Plan},
    player::paging::Trust,
    report::{Facts, Report},
    swapping::SwapPlan,
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
    let plan = Plan {
        name: "overcommit".to_owned(),
        size: common.paging_size(),
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
        length: Length::After(common.duration.unwrap_or(DURATION)),
    };
    let facts = Facts {
        load: format!(
            "{}; folios are filled, touched and verified",
            paging.facts.describe()
        ),
        ..Facts::default()
    };
    let house = set_up(threads, errand)?;
    let mut measurement = Measurement::new(&house);
    let outcome = phase::perform(&plan, &house, paging.players, &mut measurement)?;
    let paged = measurement.report(paging.facts);
    let mut report = report(errand, &house, &[(facts, outcome)]);
    report.add_paging(paged);
    Ok(report)
}
