//! `overcommit --groups`: a protected group, and neighbours that need more than the pool has.
#![forbid(unsafe_code)]

mod cast; // the groups and their players
mod waiting; // pressure beside the sum of waits

use std::time::{Duration, Instant};

use pagepool::{Group, GroupStats, PagePool, Pressure};

use super::{
    BadInput, Errand,
    overcommit::DURATION,
    paging::{MEMORY, PATIENCE},
    report, set_up,
};
use crate::{
    cli::{Common, Overcommit},
    levels::Sampler,
    phase::{self, Daemons, House, Length, Movable, Outcome, Plan, Watch},
    report::{Facts, GroupFigures, GroupPhase, GroupsReport, Isolation, PressureCheck, Report},
    swapping::SwapPlan,
    tally::Violations,
    units::human_bytes,
};
use cast::{Cast, Role};
use waiting::check_pressure;

/// Of the time, the part in which the protected group is alone.
const ALONE_PART: u32 = 3;

/// Memory for each group, in bytes: as many groups as that makes a pool plans for by default. One more than
/// play is made to see whether waits are counted.
const MEMORY_EACH: usize = 1 << 20;

/// Plays the protected group alone, then beside its neighbours.
pub(super) fn perform(
    common: &Common,
    options: &Overcommit,
    nr_groups: usize,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let threads = common.threads_or(nr_groups);
    check(common, options, nr_groups, threads)?;
    let house = set_up(threads, errand)?;
    let sampler = Sampler::start()?;
    let time = common.duration.unwrap_or(DURATION);
    let alone = time / ALONE_PART;
    let scenes = [("alone", 1, alone), ("beside", nr_groups, time - alone)];
    let (mut played, mut phases, mut pressure) = (Vec::new(), Vec::new(), None);
    for (name, nr, time) in scenes {
        if house.control.is_interrupted() && !played.is_empty() {
            break;
        }
        let cast = Cast::new(common, options, (nr, nr_groups), threads, errand.seed);
        let facts = Facts {
            load: cast.describe(options),
            ..Facts::default()
        };
        let (found, outcome) = play(common, (name, time), cast, &sampler, &house)?;
        pressure = found.pressure;
        phases.extend(found.phase);
        played.push((facts, outcome));
    }
    let mut report = report(errand, &played);
    report.groups = Some(GroupsReport {
        protected: !options.groups.unprotected,
        factor: options.factor,
        pace: options.groups.pace,
        isolation: isolation(&phases),
        pressure_check: pressure,
        phases,
    });
    Ok(report)
}

fn check(
    common: &Common,
    options: &Overcommit,
    nr_groups: usize,
    threads: usize,
) -> Result<(), BadInput> {
    let memory = common.memory.unwrap_or(MEMORY);
    let least = (nr_groups + 1) * MEMORY_EACH;
    if memory < least {
        return Err(BadInput::Usage(format!(
            "--memory {memory}: {nr_groups} groups need {} and more",
            human_bytes(least as u64)
        )));
    }
    if threads < nr_groups {
        return Err(BadInput::Usage(format!(
            "--threads {threads}: each of {nr_groups} groups needs one"
        )));
    }
    match (options.groups.high, options.groups.max) {
        (Some(high), Some(max)) if high > max => Err(BadInput::Usage(format!(
            "--high {high} is above --max {max}; it must not be"
        ))),
        _ => Ok(()),
    }
}

/// What the protected group lost; none if one of the phases is missing.
fn isolation(phases: &[GroupPhase]) -> Option<Isolation> {
    let [alone, beside] = phases else { return None };
    let hit_rate = |phase: &GroupPhase| phase.groups.first().map(|group| group.hit_rate);
    Some(Isolation::new(hit_rate(alone)?, hit_rate(beside)?))
}

/// What a scene showed.
struct Found {
    /// None if the fill was cut short.
    phase: Option<GroupPhase>,
    pressure: Option<PressureCheck>,
}

/// Plays one scene for so long after the fill.
fn play(
    common: &Common,
    (name, time): (&str, Duration),
    cast: Cast,
    sampler: &Sampler,
    house: &House,
) -> Result<(Found, Outcome), BadInput> {
    let plan = Plan {
        name: name.to_owned(),
        size: common.paging_size(),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::for_pages(cast.pages(), common.swap.as_ref())),
        patience: Some(PATIENCE),
        // A member's turn ends by time.
        epoch: u64::MAX,
        events: 0,
        length: Length::After(time),
    };
    let Cast { roles, players } = cast;
    let mut measurement = Measurement::new(&roles, sampler);
    let outcome = phase::perform(&plan, house, players, &mut measurement)?;
    let phase = measurement.begin.map(|_| GroupPhase {
        name: name.to_owned(),
        seconds: measurement.seconds,
        samples: measurement.samples,
        groups: measurement.figures,
    });
    let pressure = measurement.pressure;
    Ok((Found { phase, pressure }, outcome))
}

/// A group at a moment.
type Standing = (GroupStats, Pressure);

fn standing(group: &Group) -> Standing {
    (group.stats(), group.pressure())
}

/// Makes the groups, and measures them from the end of the fill until the time is up.
struct Measurement<'a> {
    roles: &'a [Role],
    sampler: &'a Sampler,
    groups: Vec<Group>,
    begin: Option<(Instant, Vec<Standing>)>,
    seconds: f64,
    samples: u64,
    figures: Vec<GroupFigures>,
    pressure: Option<PressureCheck>,
}

impl<'a> Measurement<'a> {
    fn new(roles: &'a [Role], sampler: &'a Sampler) -> Measurement<'a> {
        Measurement {
            roles,
            sampler,
            groups: Vec::with_capacity(roles.len()),
            begin: None,
            seconds: 0.0,
            samples: 0,
            figures: Vec::with_capacity(roles.len()),
            pressure: None,
        }
    }
}

impl Watch for Measurement<'_> {
    fn built(&mut self, pool: &PagePool) {
        let make = |role: &Role| {
            let group = pool.create_group(&role.name, role.limits);
            group.expect("the command line was checked")
        };
        self.groups.extend(self.roles.iter().map(make));
    }

    fn epoch(&mut self, _pool: &PagePool, epoch: u64) {
        if epoch == 0 {
            let limits = self.roles.iter().map(|role| role.limits);
            let watched = self.groups.iter().cloned().zip(limits);
            self.sampler.watch(watched.collect());
            let standings = self.groups.iter().map(standing).collect();
            self.begin = Some((Instant::now(), standings));
        }
    }

    fn held(&mut self, pool: &PagePool, violations: &mut Violations) {
        // They go now, and do not keep the pool.
        let groups = std::mem::take(&mut self.groups);
        let levels = self.sampler.unwatch();
        let (Some((begin, before)), Some(levels)) = (&self.begin, levels) else {
            return;
        };
        self.seconds = begin.elapsed().as_secs_f64();
        self.samples = levels.samples;
        let ends = groups.iter().map(standing);
        let each = self.roles.iter().zip(before).zip(ends).zip(levels.groups);
        for (((role, before), after), level) in each {
            let figures = GroupFigures::new(&before.0, &after.0, level)
                .under_pressure(&before.1, &after.1)
                .of_members(role.members(), role.deeds.counts(), self.seconds);
            figures.check(violations);
            self.figures.push(figures);
        }
        if self.roles.len() > 1 {
            self.pressure = check_pressure(pool);
        }
    }
}
