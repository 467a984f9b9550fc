//! A machine of many CPUs, as far as it takes to tell what threads cost each other: a clock for each CPU, who has
//! which cache line and which lock.
//!
//! An instruction takes a fixed time, and more if a line has to come from another CPU. A line comes to one CPU at a
//! time. Nobody waits for a plain store before the next locked instruction, which waits for all of them; but there are
//! no more than 48 on their way at once.
//!
//! **Invariants**
//! - V1: what another CPU may feel or cause is done by the CPU whose clock is the earliest
//!   ([`is_turn_of`](Machine::is_turn_of)), so that all accesses to what is shared are in the order of the clocks.

use std::collections::{HashMap, VecDeque};

use crate::decode::Touch;
use crate::directory::{Directory, Outcome, lines_of};

/// What things take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// An instruction.
    pub(crate) instruction_ns: f64,
    /// A locked one, with the line at hand.
    pub(crate) locked_ns: f64,
    /// A line that comes from another CPU.
    pub(crate) line_ns: f64,
    /// As many times more, if that is in another socket.
    pub(crate) far: f64,
    /// CPUs in a socket.
    pub(crate) socket: usize,
    /// From a call that wakes to the woken thread running.
    pub(crate) wake_ns: f64,
}

impl Costs {
    fn line(&self, from: usize, to: usize) -> f64 {
        if from / self.socket == to / self.socket {
            self.line_ns
        } else {
            self.line_ns * self.far
        }
    }
}

/// An instruction, about to be executed.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// Where it stands.
    pub(crate) place: u64,
    pub(crate) is_locked: bool,
    /// It calls the system, or looks at nothing and still is one that others may feel.
    pub(crate) is_shared: bool,
    pub(crate) touches: &'a [Touch],
    pub(crate) lock: Option<LockStep>,
}

/// What an instruction does to a lock, by address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockStep {
    /// It takes it.
    Take(u64),
    /// It wants it, and somebody else has it.
    FindTaken(u64),
    /// It gives it back.
    GiveBack(u64),
}

/// What a thread is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    /// It sleeps on a word, since so many sleeps.
    Asleep {
        word: u64,
        since: u64,
    },
    Done,
}

/// A CPU with its thread.
#[derive(Clone, Debug)]
struct Cpu {
    number: usize,
    state: State,
    now_ns: f64,
    /// When each store on its way will be done, the last one last.
    stores: VecDeque<f64>,
    operations: usize,
    /// Locks that it has.
    locks: usize,
}

/// Stores that a CPU has on their way, at most.
const STORES: usize = 48;

impl Cpu {
    fn last_store(&self) -> f64 {
        self.stores.back().copied().unwrap_or(0.0)
    }

    fn await_stores(&mut self) {
        self.now_ns = self.now_ns.max(self.last_store());
        self.stores.clear();
    }

    /// A store that will be done then.
    fn store(&mut self, done_ns: f64) {
        self.stores.push_back(done_ns);
        if self.stores.len() > STORES {
            let first = self.stores.pop_front().unwrap_or(0.0);
            self.now_ns = self.now_ns.max(first);
        }
    }

    /// A plain store to a line that is there: it is done after those before it.
    fn store_at_hand(&mut self, touch: &Touch, step: &Step<'_>) {
        let is_plain = !touch.is_waited_for && !step.is_locked;
        if is_plain && self.last_store() > self.now_ns {
            self.store(self.last_store());
        }
    }
}

/// What became of a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineBook {
    free_ns: f64,
    pub(crate) transfers: u64,
    /// For how long it was on its way.
    pub(crate) busy_ns: f64,
    /// Of that, to a thread that had no lock.
    pub(crate) unlocked_ns: f64,
    /// How many transfers were caused where.
    pub(crate) places: HashMap<u64, u64>,
}

/// What became of a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockBook {
    /// Who took it last.
    last: Option<usize>,
    /// Since when somebody has it.
    taken_ns: Option<f64>,
    pub(crate) takes: u64,
    /// Takes by another CPU than the last one.
    pub(crate) hand_overs: u64,
    /// Attempts that found it taken.
    pub(crate) found_taken: u64,
    pub(crate) held_ns: f64,
    /// Where it was taken.
    pub(crate) places: HashMap<u64, u64>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Allocations and frees.
    pub(crate) done: u64,
    pub(crate) instructions: u64,
    pub(crate) locked: u64,
    pub(crate) transfers: u64,
    /// Lines that were touched for the first time.
    pub(crate) cold: u64,
    pub(crate) sleeps: u64,
    /// What all of it took, if nobody ever waited for a lock or for a line that was busy.
    pub(crate) work_ns: f64,
}

/// All that is written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) counts: Counts,
    pub(crate) lines: HashMap<u64, LineBook>,
    pub(crate) locks: HashMap<u64, LockBook>,
}

impl Books {
    /// Allocations with their frees.
    pub(crate) fn pairs(&self) -> f64 {
        self.counts.done as f64 / 2.0
    }
}

/// From when on is counted, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Operations of each thread before.
    pub(crate) warm: usize,
    /// Operations of each thread, at least.
    pub(crate) counted: usize,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine {
    costs: Costs,
    extent: Extent,
    directory: Directory,
    cpus: Vec<Cpu>,
    sleeps: u64,
    begun_ns: Option<f64>,
    ended_ns: Option<f64>,
    /// What there was when it ended: operations under way go on to their end.
    last: Option<Box<Books>>,
    pub(crate) books: Books,
}

impl Machine {
    /// A machine whose threads run on these CPUs.
    pub(crate) fn new(costs: Costs, extent: Extent, cpus: &[usize]) -> Machine {
        let cpu = |&number: &usize| Cpu {
            number,
            state: State::Running,
            now_ns: 0.0,
            stores: VecDeque::new(),
            operations: 0,
            locks: 0,
        };
        Machine {
            costs,
            extent,
            directory: Directory::default(),
            cpus: cpus.iter().map(cpu).collect(),
            sleeps: 0,
            begun_ns: None,
            ended_ns: None,
            last: None,
            books: Books::default(),
        }
    }

    /// The thread that is behind all others of those that run; none, if none runs.
    pub(crate) fn earliest(&self) -> Option<usize> {
        let running =
            { self.cpus.iter().enumerate() }.filter(|(_, cpu)| cpu.state == State::Running);
        running
            .min_by(|(_, one), (_, other)| one.now_ns.total_cmp(&other.now_ns))
            .map(|(thread, _)| thread)
    }

    /// Whether nothing that another CPU has yet to do can be felt by the thread: it takes as long as a line to come.
    fn is_early(&self, thread: usize) -> bool {
        let felt = self.cpus[thread].now_ns - self.costs.line_ns;
        { self.cpus.iter().enumerate() }.all(|(other, cpu)| {
            other == thread || cpu.state != State::Running || felt <= cpu.now_ns
        })
    }

    /// Whether the thread may do this now (V1). A locked instruction first waits for the stores before it.
    pub(crate) fn is_turn_of(&mut self, thread: usize, step: &Step<'_>) -> bool {
        let cpu = &mut self.cpus[thread];
        if step.is_locked {
            cpu.await_stores();
        }
        let number = cpu.number;
        let is_private = |touch: &Touch| {
            lines_of(touch.address, touch.size)
                .all(|line| self.directory.is_private(number, line, touch.access))
        };
        let is_shared = step.is_shared || !step.touches.iter().all(is_private);
        !is_shared || self.is_early(thread)
    }

    /// The thread does this.
    pub(crate) fn execute(&mut self, thread: usize, step: &Step<'_>) {
        self.books.counts.instructions += 1;
        let cpu = &mut self.cpus[thread];
        let takes = if step.is_locked {
            self.books.counts.locked += 1;
            cpu.await_stores();
            self.costs.locked_ns
        } else {
            self.costs.instruction_ns
        };
        cpu.now_ns += takes;
        self.books.counts.work_ns += takes;
        for touch in step.touches {
            for line in lines_of(touch.address, touch.size) {
                self.touch(thread, step, line, touch);
            }
        }
        if let Some(lock) = step.lock {
            self.note_lock(thread, step.place, lock);
        }
    }

    fn touch(&mut self, thread: usize, step: &Step<'_>, line: u64, touch: &Touch) {
        let cpu = &mut self.cpus[thread];
        let from = match self.directory.access(cpu.number, line, touch.access) {
            Outcome::Hit => return cpu.store_at_hand(touch, step),
            Outcome::Cold => {
                self.books.counts.cold += 1;
                return cpu.store_at_hand(touch, step);
            }
            Outcome::Transfer { from } => from,
        };
        let waits = touch.is_waited_for || step.is_locked;
        let takes = self.costs.line(from, cpu.number);
        let book = self.books.lines.entry(line).or_default();
        let ready = if waits {
            cpu.now_ns
        } else {
            cpu.now_ns.max(cpu.last_store())
        };
        let done = ready.max(book.free_ns) + takes;
        if waits {
            cpu.now_ns = done;
        } else {
            cpu.store(done);
        }
        book.free_ns = done;
        book.transfers += 1;
        book.busy_ns += takes;
        if cpu.locks == 0 {
            book.unlocked_ns += takes;
        }
        if waits {
            self.books.counts.work_ns += takes;
        }
        *book.places.entry(step.place).or_default() += 1;
        self.books.counts.transfers += 1;
    }

    fn note_lock(&mut self, thread: usize, place: u64, step: LockStep) {
        let cpu = &mut self.cpus[thread];
        match step {
            LockStep::Take(lock) => {
                let book = self.books.locks.entry(lock).or_default();
                book.takes += 1;
                book.hand_overs += u64::from(book.last.is_some_and(|last| last != thread));
                book.last = Some(thread);
                book.taken_ns = Some(cpu.now_ns);
                cpu.locks += 1;
                *book.places.entry(place).or_default() += 1;
            }
            LockStep::FindTaken(lock) => {
                let book = self.books.locks.entry(lock).or_default();
                book.found_taken += 1;
                *book.places.entry(place).or_default() += 1;
            }
            LockStep::GiveBack(lock) => {
                let begun = self.begun_ns.unwrap_or(0.0);
                // What was not seen to be taken is no lock.
                if let Some(book) = self.books.locks.get_mut(&lock)
                    && let Some(taken) = book.taken_ns.take()
                {
                    book.held_ns += cpu.now_ns - taken.max(begun);
                    cpu.locks -= 1;
                }
            }
        }
    }

    /// The thread spends some time on what touches nothing.
    pub(crate) fn spend(&mut self, thread: usize, ns: f64) {
        self.cpus[thread].now_ns += ns;
    }

    /// The thread sleeps until the word is rung.
    pub(crate) fn sleep(&mut self, thread: usize, word: u64) {
        self.sleeps += 1;
        self.books.counts.sleeps += 1;
        let since = self.sleeps;
        self.cpus[thread].state = State::Asleep { word, since };
    }

    /// Wakes up to `most` of those who sleep on a word, the first first; returns how many.
    pub(crate) fn wake(&mut self, thread: usize, word: u64, most: usize) -> usize {
        let now = self.cpus[thread].now_ns;
        let since_when = |cpu: &Cpu| match cpu.state {
            State::Asleep { word: at, since } if at == word => Some(since),
            _ => None,
        };
        let mut sleepers: Vec<(u64, usize)> = { self.cpus.iter().enumerate() }
            .filter_map(|(sleeper, cpu)| Some((since_when(cpu)?, sleeper)))
            .collect();
        sleepers.sort_unstable();
        sleepers.truncate(most);
        for (_, sleeper) in &sleepers {
            let cpu = &mut self.cpus[*sleeper];
            cpu.state = State::Running;
            cpu.now_ns = cpu.now_ns.max(now) + self.costs.wake_ns;
        }
        sleepers.len()
    }

    /// The thread has done an operation of so many allocations and frees. Returns whether it is to go on.
    pub(crate) fn finish_operation(&mut self, thread: usize, done: usize) -> bool {
        self.cpus[thread].operations += 1;
        self.books.counts.done += done as u64;
        let Extent { warm, counted } = self.extent;
        let all_have = |machine: &Machine, operations| {
            machine.cpus.iter().all(|cpu| cpu.operations >= operations)
        };
        if self.begun_ns.is_none() && all_have(self, warm) {
            self.begin();
        }
        if self.ended_ns.is_none() && all_have(self, warm + counted) {
            self.ended_ns = Some(self.horizon());
            self.last = Some(Box::new(self.books.clone()));
        }
        let goes_on = self.ended_ns.is_none();
        if !goes_on {
            self.cpus[thread].state = State::Done;
        }
        goes_on
    }

    /// Counts from now on.
    fn begin(&mut self) {
        self.begun_ns = Some(self.horizon());
        self.books.counts = Counts::default();
        for book in self.books.lines.values_mut() {
            let free_ns = book.free_ns;
            *book = LineBook {
                free_ns,
                ..LineBook::default()
            };
        }
        for book in self.books.locks.values_mut() {
            *book = LockBook {
                last: book.last,
                taken_ns: book.taken_ns,
                ..LockBook::default()
            };
        }
    }

    /// The mean of the clocks of those who run: they are less than an operation apart.
    fn horizon(&self) -> f64 {
        let running = { self.cpus.iter() }.filter(|cpu| cpu.state == State::Running);
        let (sum, nr) = running.fold((0.0, 0.0), |(sum, nr), cpu| (sum + cpu.now_ns, nr + 1.0));
        sum / nr
    }

    /// What was written down, and how long that took in nanoseconds.
    ///
    /// # Panics
    /// If the run is not over.
    pub(crate) fn into_books(self) -> (Books, f64) {
        let span = self.span_ns();
        let books = self.last.expect("what has a span has ended");
        (*books, span)
    }

    /// How long it was counted, in nanoseconds.
    ///
    /// # Panics
    /// If the run is not over.
    fn span_ns(&self) -> f64 {
        let begun = self.begun_ns.expect("every thread is warm");
        self.ended_ns.expect("every thread is done") - begun
    }
}

#[cfg(test)]
mod tests;
