//! One pool and the load that is played against it, from build to trim.
//!
//! ```text
//! build -> { play an epoch -> verify() }* -> held: take stock -> release -> verify()
//!               ^________________ rewind, next round _______________|
//!       -> drain, trim -> every page is free again, RSS is down again
//! ```
//!
//! `verify()` runs only when all players have stopped: the pool is quiescent and must be exact.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pagepool::{
    BuildError, DaemonState, HugePages, PAGE_SIZE, PagePool, PrefaultError, Prefaulted, ServeError,
    Stats,
};
use serde::Serialize;

use crate::{
    container::{Container, SHARE},
    control::Control,
    crew::{Crew, Order, Seat},
    player::{Played, Stage},
    posts::{Place, Watchdog},
    progress::{Goal, Progress, Screen},
    record::{Meters, Recorder, Tape},
    rehearsal::rehearse,
    rss::{self, Rss},
    serving::Serving,
    swapping::SwapPlan,
    tally::{Tally, Violations},
    taping::Taping,
    units::wide,
    what_if::PoolSettings,
};

/// How long writes may be on their way after all folios are gone.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// How long memory may take to become resident before a load.
const PREFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Pages in a pageblock of a pool of full size.
const PAGEBLOCK_PAGES: u64 = 512;

/// Room above a trace's peak, in percent.
const HEADROOM_PERCENT: u64 = 15;

/// Bytes that a pool must manage to hold `peak_pages` with 15 % to spare, in whole pageblocks.
pub(crate) fn size_for_peak(peak_pages: u64) -> usize {
    let pages = (peak_pages * (100 + HEADROOM_PERCENT)).div_ceil(100);
    pages.next_multiple_of(PAGEBLOCK_PAGES) as usize * PAGE_SIZE
}

/// Bytes that a pool manages that can hold half of `peak_pages`, in whole pageblocks.
pub(crate) fn size_for_half(peak_pages: u64) -> usize {
    (peak_pages / 2).next_multiple_of(PAGEBLOCK_PAGES) as usize * PAGE_SIZE
}

/// How large a pool is.
#[derive(Clone, Debug)]
pub(crate) enum Size {
    /// So many bytes can be handed out; metadata comes on top.
    Managed(usize),
    /// So many bytes in all.
    Budget(usize),
    /// A share of what a container has, which the pool follows.
    Container(Arc<Container>),
    /// As a recorded pool, or one that is otherwise in some ways.
    Recorded(Arc<PoolSettings>),
}

/// What becomes of the Movable zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movable {
    /// As the pool decides.
    Default,
    /// There is none: the load consists of raw pages, which could not use it.
    None,
}

/// Whether a pool runs its daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemons {
    /// It does, as by default.
    On,
    /// Whoever needs something does it alone.
    Off,
}

impl Daemons {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Daemons::On => "on",
            Daemons::Off => "off",
        }
    }
}

/// How long a phase lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// One round.
    Once,
    /// One round, cut short when the time is up.
    Within(Duration),
    /// Rounds until the time is up, the last one cut short.
    For(Duration),
    /// One round without an end, cut short when the time is up, which begins after the first epoch.
    After(Duration),
}

/// What a phase is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) size: Size,
    pub(crate) nodes: usize,
    pub(crate) daemons: Daemons,
    pub(crate) movable: Movable,
    /// What the pool swaps to, if to anything.
    pub(crate) swap: Option<SwapPlan>,
    /// How long a request or an access waits that does not say otherwise; none is the pool's default.
    pub(crate) patience: Option<Duration>,
    /// Events that each player plays between two verifications.
    pub(crate) epoch: u64,
    /// Events of all players in a round, to show progress.
    pub(crate) events: u64,
    pub(crate) length: Length,
}

/// What a phase found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) players: usize,
    pub(crate) rounds: u64,
    pub(crate) epochs: u64,
    /// Time spent playing and releasing, verification of the pool not included.
    pub(crate) played: Duration,
    pub(crate) tally: Tally,
    /// The pool when the last round was played and everything was still held.
    pub(crate) held: Stats,
    /// The swap areas at the same time, together.
    pub(crate) swap: Option<SwapFigures>,
    /// What it cost to make memory resident first, if that was asked for.
    pub(crate) prefaulted: Option<Prefaulted>,
    pub(crate) slowpath_entries: u64,
    pub(crate) trimmed_bytes: u64,
    pub(crate) rss: Option<RssFigures>,
}

/// The pool's swap areas, added up.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SwapFigures {
    pub(crate) total_pages: u64,
    pub(crate) used_pages: u64,
    pub(crate) pages_read: u64,
    pub(crate) pages_written: u64,
    /// Reads and writes that failed for good.
    pub(crate) errors: u64,
    /// Pages whose checksums did not match.
    pub(crate) corrupt: u64,
    /// Times that somebody gave up waiting.
    pub(crate) stalls: u64,
}

impl SwapFigures {
    fn of(pool: &PagePool) -> Option<SwapFigures> {
        let areas = pool.swap_areas();
        if areas.is_empty() {
            return None;
        }
        let add = |sum: SwapFigures, area: &pagepool::SwapAreaStats| SwapFigures {
            total_pages: sum.total_pages + wide(area.total_pages),
            used_pages: sum.used_pages + wide(area.used_pages),
            pages_read: sum.pages_read + area.pages_read,
            pages_written: sum.pages_written + area.pages_written,
            errors: sum.errors + area.errors,
            corrupt: sum.corrupt + area.corrupt,
            stalls: sum.stalls + area.stalls,
        };
        Some(areas.iter().fold(SwapFigures::default(), add))
    }
}

/// The process's resident memory around a phase, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RssFigures {
    /// Before the pool was built.
    pub(crate) start: u64,
    /// The largest sample.
    pub(crate) max: u64,
    /// After everything was freed and trimmed, the pool still there.
    pub(crate) end: u64,
    pub(crate) samples: u64,
}

/// What somebody wants to see of a pool while it is quiescent and blocks are held.
pub(crate) trait Watch {
    /// Once, before anybody plays.
    fn built(&mut self, _pool: &PagePool) {}

    /// After each epoch, numbered from 0.
    fn epoch(&mut self, _pool: &PagePool, _epoch: u64) {}

    /// After each epoch, with the number of violations found so far: whether there is to be another.
    fn goes_on(&mut self, _pool: &PagePool, _violations: u64) -> bool {
        true
    }

    /// After the last round, before anything is released.
    fn held(&mut self, _pool: &PagePool, _violations: &mut Violations) {}
}

/// Looks at nothing.
pub(crate) struct NoWatch;

impl Watch for NoWatch {}

/// Why a phase cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhaseError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Prefault(#[from] PrefaultError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// What all phases of a run share.
pub(crate) struct House {
    pub(crate) crew: Crew,
    pub(crate) control: Arc<Control>,
    pub(crate) rss: Option<Rss>,
    /// Where progress is shown.
    pub(crate) screen: Screen,
    /// Records what is played, for a page.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// What is recorded of the first pool that is played.
    pub(crate) taping: Arc<Taping>,
    /// Where pools are served, if anywhere.
    pub(crate) serve: Option<Serving>,
    /// Bytes of a pool that are made resident before anybody plays.
    pub(crate) prefault: usize,
    /// Where pools ask for huge pages.
    pub(crate) huge_pages: HugePages,
    /// Watches until the house is gone.
    #[expect(dead_code, reason = "it works by being there")]
    pub(crate) watchdog: Watchdog,
}

impl House {
    /// Makes memory of a pool that was just built resident, as far as that is asked for.
    fn prefault(&self, pool: &PagePool) -> Result<Option<Prefaulted>, PrefaultError> {
        if self.prefault == 0 {
            return Ok(None);
        }
        pool.prefault(self.prefault, PREFAULT_PATIENCE).map(Some)
    }

    /// What was recorded last was a rehearsal, and is not for the page.
    pub(crate) fn forget_rehearsal(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.forget_last();
        }
    }
}

/// Plays a phase.
pub(crate) fn perform(
    plan: &Plan,
    house: &House,
    players: Vec<Seat>,
    watch: &mut dyn Watch,
) -> Result<Outcome, PhaseError> {
    assert!(
        players.len() <= house.crew.size(),
        "each player has a thread"
    );
    rehearse();
    let rss_start = house.rss.as_ref().map(Rss::mark);
    let posts = house.control.posts();
    let pool = posts.conduct(Place::Housekeeping, || build(plan, house.huge_pages))?;
    let prefaulted = posts.conduct(Place::Housekeeping, || house.prefault(&pool))?;
    let server = { house.serve.as_ref() }
        .map(|serving| serving.begin(&pool))
        .transpose()?;
    watch.built(&pool);
    let recording = house.taping.begin(&pool);
    let (screen, goal) = (&house.screen, plan.goal());
    let progress = Progress::begin(screen, &plan.name, goal, &pool, &house.control);
    let meters = Meters::of(players.iter().map(|player| player.tally()));
    let recorder = house.recorder.as_ref();
    let tape = recorder.and_then(|recorder| recorder.begin(&pool, &house.control, meters));
    let stage = Stage {
        pool,
        control: Arc::clone(&house.control),
        worker: 0,
    };
    let mut performance = Performance {
        beside: recording.as_ref().map_or(0, |_| Taping::MOST_BYTES),
        house,
        stage,
        progress,
        nr_players: players.len(),
        players,
        epochs: 0,
        rounds: 0,
        played: Duration::ZERO,
        violations: Violations::default(),
    };
    let (held, swap) = performance.play_rounds(plan, watch);
    let taken = tape.map(Tape::end);
    let pool = performance.stage.pool.clone();
    let mut outcome = performance.finish(plan, held, swap, rss_start);
    outcome.prefaulted = prefaulted;
    if let Some(recording) = recording {
        posts.conduct(Place::Housekeeping, || house.taping.end(recording));
    }
    // Before the pool, so that its end is here and not at the server.
    drop(server);
    // The last handle: daemons and devices come to their ends.
    posts.conduct(Place::Housekeeping, || drop(pool));
    if let Some(swap) = &plan.swap {
        swap.remove();
    }
    if let (Some(recorder), Some(taken)) = (recorder, taken) {
        recorder.keep(&plan.name, taken);
    }
    Ok(outcome)
}

fn build(plan: &Plan, huge_pages: HugePages) -> Result<PagePool, BuildError> {
    let mut builder = PagePool::builder()
        .huge_pages(huge_pages)
        .nodes(plan.nodes)
        .daemons(plan.daemons == Daemons::On);
    if let Some(patience) = plan.patience {
        builder = builder.deadline(patience);
    }
    if let Some(swap) = &plan.swap {
        builder = builder.swap(swap.open()?);
    }
    let builder = match &plan.size {
        Size::Managed(bytes) => builder.managed(*bytes),
        Size::Budget(bytes) => builder.memory(*bytes),
        Size::Container(container) => builder
            .host_root(container.root())
            .memory_of_container(SHARE)
            .follow_container(true),
        Size::Recorded(settings) => settings.shape(builder),
    };
    match plan.movable {
        Movable::Default => builder.build(),
        Movable::None => builder.movable_share(0).build(),
    }
}

impl Plan {
    fn goal(&self) -> Goal {
        match self.length {
            Length::Once | Length::Within(_) => Goal::Events(self.events),
            Length::For(time) => Goal::Time(time),
            Length::After(time) => Goal::Later(time),
        }
    }

    fn limit(&self) -> Option<Duration> {
        match self.length {
            Length::Once | Length::After(_) => None,
            Length::Within(time) | Length::For(time) => Some(time),
        }
    }
}

/// A phase under way.
struct Performance<'a> {
    /// Bytes that a recording of the pool may take beside it.
    beside: u64,
    house: &'a House,
    stage: Stage,
    progress: Progress,
    nr_players: usize,
    players: Vec<Seat>,
    epochs: u64,
    rounds: u64,
    played: Duration,
    violations: Violations,
}

impl Performance<'_> {
    /// Plays round after round and returns the pool's state at the end of the last one.
    fn play_rounds(&mut self, plan: &Plan, watch: &mut dyn Watch) -> (Stats, Option<SwapFigures>) {
        let control = Arc::clone(&self.stage.control);
        control.begin(plan.limit());
        loop {
            self.play_round(plan, watch);
            self.rounds += 1;
            let is_last = !matches!(plan.length, Length::For(_))
                || control.is_over()
                || self.players.is_empty();
            let held = is_last.then(|| {
                watch.held(&self.stage.pool, &mut self.violations);
                (self.stage.pool.stats(), SwapFigures::of(&self.stage.pool))
            });
            self.order(Order::Release);
            self.verify_pool();
            match held {
                Some(figures) => return figures,
                None => self.order(Order::Rewind),
            };
        }
    }

    fn play_round(&mut self, plan: &Plan, watch: &mut dyn Watch) {
        loop {
            let endings = self.order(Order::Play(plan.epoch));
            self.verify_pool();
            watch.epoch(&self.stage.pool, self.epochs);
            self.epochs += 1;
            if let (Length::After(time), 1) = (plan.length, self.epochs) {
                self.stage.control.begin(Some(time));
                self.progress.restart();
            }
            let goes_on = watch.goes_on(&self.stage.pool, self.nr_violations());
            let is_stopped = endings.contains(&Played::Stopped);
            if is_stopped || !goes_on || !endings.contains(&Played::Paused) {
                return;
            }
        }
    }

    /// Has all players do the same; the time counts as played.
    fn order(&mut self, order: Order) -> Vec<Played> {
        let begin = Instant::now();
        let (endings, panics) = self
            .house
            .crew
            .perform(&mut self.players, order, &self.stage);
        self.played += begin.elapsed();
        panics
            .into_iter()
            .for_each(|message| self.violations.add(message));
        endings
    }

    fn nr_violations(&self) -> u64 {
        let of_players = self.players.iter().map(|player| player.tally());
        let counts = of_players.map(|tally| tally.violations.count);
        self.violations.count + counts.sum::<u64>()
    }

    fn verify_pool(&mut self) {
        let posts = self.stage.control.posts();
        let verified = posts.conduct(Place::Verifying, || self.stage.pool.verify());
        if let Err(violation) = verified {
            self.violations.add(violation);
        }
        for node in &self.stage.pool.stats().nodes {
            let daemons = [("kswapd", node.kswapd), ("kcompactd", node.kcompactd)];
            for (name, _) in daemons
                .iter()
                .filter(|(_, state)| *state == DaemonState::Dead)
            {
                self.violations
                    .add(format_args!("{name}{} has died", node.id.get()));
            }
        }
    }

    /// Gives all memory back and makes sure that it is back.
    fn finish(
        mut self,
        plan: &Plan,
        held: Stats,
        swap: Option<SwapFigures>,
        rss_start: Option<u64>,
    ) -> Outcome {
        let pool = self.stage.pool.clone();
        let control = Arc::clone(&self.stage.control);
        control.posts().conduct(Place::Housekeeping, || {
            drain(&pool, DRAIN_PATIENCE);
        });
        let trimmed_bytes = wide(pool.trim());
        self.verify_pool();
        let stats = pool.stats();
        if stats.swap_free_pages != stats.swap_total_pages {
            self.violations.add(format_args!(
                "lost swap: {} of {} pages of swap are free after everything was freed",
                stats.swap_free_pages, stats.swap_total_pages
            ));
        }
        if stats.free_pages != stats.managed_pages {
            self.violations.add(format_args!(
                "lost pages: {} of {} are free after everything was freed",
                stats.free_pages, stats.managed_pages
            ));
        }
        check_groups(&pool, &mut self.violations);
        let rss = self.rss_figures(rss_start);
        if let Some(rss) = rss {
            check_rss(rss, &stats, self.beside_the_pool(), &mut self.violations);
        }
        let mut tally = Tally::new();
        self.players
            .iter()
            .for_each(|player| tally.merge(player.tally()));
        tally.violations.merge(&self.violations);
        Outcome {
            name: plan.name.clone(),
            players: self.nr_players,
            rounds: self.rounds,
            epochs: self.epochs,
            played: self.played,
            tally,
            held,
            swap,
            prefaulted: None,
            slowpath_entries: stats.slowpath_entries,
            trimmed_bytes,
            rss,
        }
    }

    /// Bytes that are not the pool's and come with it.
    fn beside_the_pool(&self) -> u64 {
        let by_server = self.house.serve.as_ref().map_or(0, |_| Serving::BYTES);
        self.beside + by_server
    }

    fn rss_figures(&self, start: Option<u64>) -> Option<RssFigures> {
        let rss = self.house.rss.as_ref()?;
        let end = rss.now();
        let (max, samples) = rss.max();
        Some(RssFigures {
            start: start?,
            max,
            end,
            samples,
        })
    }
}

/// Empties the caches, and waits for the memory that writes on their way still hold.
fn drain(pool: &PagePool, patience: Duration) {
    let begin = Instant::now();
    loop {
        pool.drain();
        let stats = pool.stats();
        let is_free = stats.free_pages == stats.managed_pages
            && stats.swap_free_pages == stats.swap_total_pages;
        if is_free || begin.elapsed() >= patience {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes sure that no group is charged for anything, since there is nothing.
fn check_groups(pool: &PagePool, violations: &mut Violations) {
    for group in pool.groups() {
        if (group.current_bytes, group.members) != (0, 0) {
            violations.add(format_args!(
                "lost charge: group {} has {} bytes and {} members after everything was freed",
                group.path, group.current_bytes, group.members
            ));
        }
    }
}

/// Holds the pool to its promise: never more than the budget, and all back at the end.
fn check_rss(rss: RssFigures, stats: &Stats, beside: u64, violations: &mut Violations) {
    let RssFigures {
        start, max, end, ..
    } = rss;
    let beside = beside + rss::uncertainty();
    let most = start + wide(stats.budget.built_bytes) + beside;
    if max > most {
        violations.add(format_args!(
            "RSS rose to {max} bytes, {start} before and the budget allow {most}"
        ));
    }
    let most = start + start / 20 + wide(stats.metadata_bytes) + beside;
    if end > most {
        violations.add(format_args!(
            "RSS stayed at {end} bytes after trim, {most} are allowed"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_pageblocks() {
        assert_eq!(size_for_peak(17_129), 39 * 512 * PAGE_SIZE);
        assert_eq!(size_for_peak(1), 512 * PAGE_SIZE);
        assert_eq!(size_for_peak(445), 512 * PAGE_SIZE);
        assert_eq!(size_for_peak(446), 1024 * PAGE_SIZE);
    }
}
