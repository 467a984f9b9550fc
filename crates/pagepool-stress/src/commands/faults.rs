//! `faults`: more folios than memory, and a swap device that fails.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::{Fault, FaultyDevice, PagePool, SwapDevice};

use super::{
    BadInput, Errand, nr_cpus,
    paging::{EPOCH, Measurement, PATIENCE, Paging},
    report, set_up,
};
use crate::{
    cli::{Common, Faults},
    phase::{self, Daemons, Length, Movable, Plan, Watch},
    player::paging::Trust,
    report::{Facts, Injected, Report},
    swapping::{SwapChoice, SwapPlan},
    tally::Violations,
};

/// How long folios are touched unless the user says.
const DURATION: Duration = Duration::from_secs(60);

/// What the device does wrong, by name.
const FAULTS: [(&str, Fault); 11] = [
    ("read_error", Fault::ReadError),
    ("transient_read_error", Fault::TransientReadError),
    ("corrupt_read", Fault::CorruptRead),
    ("stalled_read", Fault::StalledRead),
    ("write_error", Fault::WriteError),
    ("transient_write_error", Fault::TransientWriteError),
    ("short_write", Fault::ShortWrite),
    ("torn_write", Fault::TornWrite),
    ("silent_torn_write", Fault::SilentTornWrite),
    ("full", Fault::Full),
    ("stalled_write", Fault::StalledWrite),
];

/// Fills the set, touches it while the device fails, and reads all of it once more.
pub(crate) fn perform(
    common: &Common,
    options: &Faults,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let threads = common.threads_or(nr_cpus());
    let load = &options.load;
    let paging = Paging::new(
        common,
        load,
        options.factor,
        Trust::Faulty,
        threads,
        errand.seed,
    );
    let device = Arc::new(FaultyDevice::new(
        file(paging.facts.pages, common.swap.as_ref())?,
        faults(options, errand.seed),
    ));
    let plan = Plan {
        name: "faults".to_owned(),
        size: common.paging_size(),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::Faulty(Arc::clone(&device))),
        patience: Some(PATIENCE),
        epoch: EPOCH,
        events: 0,
        length: Length::After(common.duration.unwrap_or(DURATION)),
    };
    let facts = Facts {
        load: format!("{}; {}", paging.facts.describe(), describe(options)),
        notes: vec![
            "an error is counted by its cause; contents that are gone for good are made anew"
                .to_owned(),
        ],
        ..Facts::default()
    };
    let house = set_up(threads, errand)?;
    let mut trial = Trial {
        measurement: Measurement::new(&house),
        device: &device,
        injected: Vec::new(),
    };
    let outcome = phase::perform(&plan, &house, paging.players, &mut trial)?;
    let mut paged = trial.measurement.report(paging.facts);
    paged.injected = trial.injected;
    let mut report = report(errand, &[(facts, outcome)]);
    report.add_paging(paged);
    Ok(report)
}

fn file(pages: u64, choice: Option<&SwapChoice>) -> Result<impl SwapDevice, BadInput> {
    Ok(SwapPlan::for_pages(pages, choice).open()?)
}

fn faults(options: &Faults, seed: u64) -> pagepool::Faults {
    let Faults {
        error_rate,
        stall,
        corrupt,
        full,
        torn,
        ..
    } = *options;
    let rates = [
        (error_rate, Fault::ReadError),
        (error_rate, Fault::TransientReadError),
        (error_rate, Fault::WriteError),
        (error_rate, Fault::TransientWriteError),
        (error_rate, Fault::ShortWrite),
        (stall, Fault::StalledRead),
        (stall, Fault::StalledWrite),
        (corrupt, Fault::CorruptRead),
        (full, Fault::Full),
        (torn, Fault::TornWrite),
        (torn, Fault::SilentTornWrite),
    ];
    let plan = pagepool::Faults::seeded(seed).stall_for(options.stall_time);
    rates
        .iter()
        .filter(|(calls, _)| *calls > 0)
        .fold(plan, |plan, (calls, fault)| plan.one_in(*calls, *fault))
}

fn describe(options: &Faults) -> String {
    let rate = |name: &str, calls: u64| match calls {
        0 => format!("{name} never"),
        calls => format!("{name} 1 in {calls}"),
    };
    [
        rate("errors", options.error_rate),
        rate("stalls", options.stall),
        rate("corrupt", options.corrupt),
        rate("full", options.full),
        rate("torn", options.torn),
    ]
    .join(", ")
}

/// Measures, and lets the device work again before all is read once more.
struct Trial<'a> {
    measurement: Measurement<'a>,
    device: &'a FaultyDevice,
    injected: Vec<Injected>,
}

impl Watch for Trial<'_> {
    fn epoch(&mut self, pool: &PagePool, epoch: u64) {
        self.measurement.epoch(pool, epoch);
    }

    fn held(&mut self, pool: &PagePool, violations: &mut Violations) {
        self.measurement.held(pool, violations);
        let injected = |(name, fault): &(&'static str, Fault)| Injected {
            fault: name,
            count: self.device.count(*fault),
        };
        self.injected = FAULTS
            .iter()
            .map(injected)
            .filter(|injected| injected.count > 0)
            .collect();
        self.device.set_faults(pagepool::Faults::none());
    }
}
