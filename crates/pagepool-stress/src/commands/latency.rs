//! `latency`: requests that are due by a schedule, in a pool that is nearly full.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::{PAGE_SIZE, PagePool};

use super::{
    BadInput, Errand,
    paging::{MEMORY, PATIENCE},
    report, set_up,
};
use crate::{
    cli::{Common, Latency},
    crew::Seat,
    hdr_log::{HdrLog, LogFile, Written},
    ledger::{Account, Ledger},
    phase::{self, Daemons, Length, Movable, Plan, Watch},
    player::arrivals::{ArrivalPlayer, Load},
    report::{AskedLatency, Facts, LatencyReport, Report},
    rng::nth,
    schedule::Schedule,
    swapping::SwapPlan,
    tally::Violations,
    units::{grouped, human_bytes},
};

/// How long requests are made unless the user says.
const DURATION: Duration = Duration::from_secs(15);

/// What raw blocks may take of the memory: they can go nowhere, and kswapd needs something to work on.
const MOST_RAW: f64 = 0.8;

/// Makes the requests and measures them.
pub(crate) fn perform(
    common: &Common,
    options: &Latency,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let threads = common.threads_or(1);
    let raw_share = f64::from(options.raw_share) / 100.0;
    check(options, raw_share)?;
    let pages = (common.memory.unwrap_or(MEMORY) / PAGE_SIZE) as f64 * options.fill;
    let ledgers: Arc<[Ledger]> = (0..threads).map(|_| Ledger::new()).collect();
    let load = Load {
        orders: options.orders.clone(),
        raw_share,
        pages: pages as usize / threads,
    };
    let player = |n: usize| {
        let seed = nth(errand.seed, n as u64);
        let seat = (n, threads);
        let schedule = Schedule::new(options.arrivals, options.rate, seat, nth(seed, 0));
        let ledger = ledgers[n].clone();
        Box::new(ArrivalPlayer::new(load.clone(), schedule, ledger, seed)) as Seat
    };
    let players = (0..threads).map(player).collect();
    let mut watch = Keeper {
        file: log_file(options)?,
        period: options.log_interval,
        ledgers: Arc::clone(&ledgers),
        log: None,
        written: None,
        account: Account::new(),
    };
    let plan = plan(common, pages as u64);
    let facts = Facts {
        load: format!(
            "{} held in blocks of orders {}; {} requests a second are due",
            human_bytes(pages as u64 * PAGE_SIZE as u64),
            options.orders.describe(),
            grouped(options.rate)
        ),
        notes: vec!["the first and last word of each page are written and compared".to_owned()],
        ..Facts::default()
    };
    let house = set_up(threads, errand)?;
    let outcome = phase::perform(&plan, &house, players, &mut watch)?;
    let asked = AskedLatency {
        rate: options.rate,
        arrivals: options.arrivals.name(),
        orders: options.orders.describe(),
        raw_share,
        fill: options.fill,
        threads,
    };
    let mut report = report(errand, &[(facts, outcome)]);
    let measured = LatencyReport::new(asked, &watch.account, watch.written);
    report.add_latency(measured);
    Ok(report)
}

fn check(options: &Latency, raw_share: f64) -> Result<(), BadInput> {
    let raw = raw_share * options.fill;
    if raw > MOST_RAW {
        return Err(BadInput::Usage(format!(
            "--raw-share {} with --fill {} would have raw blocks take {raw:.2} of the memory; accepted is up to {MOST_RAW}",
            options.raw_share, options.fill
        )));
    }
    Ok(())
}

fn log_file(options: &Latency) -> Result<Option<LogFile>, BadInput> {
    let create = |path| {
        LogFile::create(path)
            .map_err(|error| BadInput::Usage(format!("--log {}: {error}", path.display())))
    };
    options.log.as_deref().map(create).transpose()
}

fn plan(common: &Common, pages: u64) -> Plan {
    Plan {
        name: "latency".to_owned(),
        size: common.paging_size(),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::for_pages(pages, common.swap.as_ref())),
        patience: Some(PATIENCE),
        // After the fill, and when the time is up: a verification in between would be a stall.
        epoch: u64::MAX,
        events: 0,
        length: Length::After(common.duration.unwrap_or(DURATION)),
    }
}

/// Keeps the log from the end of the fill until the time is up.
struct Keeper {
    file: Option<LogFile>,
    period: Duration,
    ledgers: Arc<[Ledger]>,
    log: Option<HdrLog>,
    written: Option<Written>,
    account: Account,
}

impl Watch for Keeper {
    fn epoch(&mut self, _pool: &PagePool, epoch: u64) {
        if let (0, Some(file)) = (epoch, self.file.take()) {
            let log = HdrLog::start(file, Arc::clone(&self.ledgers), self.period);
            self.log = Some(log.expect("the system has a thread more"));
        }
    }

    fn held(&mut self, _pool: &PagePool, _violations: &mut Violations) {
        self.written = self.log.take().map(HdrLog::finish);
        for ledger in self.ledgers.iter() {
            ledger.add_to(&mut self.account);
        }
    }
}
