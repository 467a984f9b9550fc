use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::slots::SlotMap;
use super::*;
use crate::backing::{
    Completed, Counter, Direction, IO_PAGES, InFlight, IoEngine, Outcome, StoreError,
};
use crate::sync::cpu::with_cpu;
use crate::sync::{clock, thread};

fn within(millis: u64) -> Option<Instant> {
    clock::deadline_after(Duration::from_millis(millis))
}

fn soon() -> Option<Instant> {
    within(20_000)
}

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came");
}

fn space(limit_bytes: u64) -> SwapSpace {
    static POOL: u8 = 2;
    SwapSpace::new(SwapSpec {
        stores: Arc::new(Stores::new()),
        pool: PoolTag::of(&POOL),
        spawn: thread::spawn,
        limit_bytes,
        stuck_after: Duration::from_secs(60),
    })
}

fn pages(nr: usize) -> usize {
    nr * PAGE_SIZE
}

/// Swap of one faulty device of 1024 slots.
struct Fixture {
    space: SwapSpace,
    device: Arc<FaultyDevice>,
    id: StoreId,
    store: Store,
}

fn fixture() -> Fixture {
    let device = Arc::new(FaultyDevice::in_memory(pages(1024), Faults::none()));
    let space = space(1 << 30);
    let id = space.swap_on(device.clone(), 0).expect("it fits");
    let store = space.spec.stores.get(id).expect("it was added");
    Fixture {
        space,
        device,
        id,
        store,
    }
}

/// The bytes of the n-th page of the folio `owner`.
fn contents(owner: u32, n: u32) -> [u8; PAGE_SIZE] {
    std::array::from_fn(|at| (owner as usize * 31 + n as usize * 7 + at) as u8)
}

impl Fixture {
    fn submit(&self, run: Run, owner: u32, first: u32) -> InFlight {
        let mut buf = self.store.take_buf(Direction::Write, soon()).expect("free");
        for n in 0..run.len {
            let bytes = contents(owner, first + n);
            buf.pages_mut(n as usize, 1).copy_from_slice(&bytes);
        }
        self.store
            .submit_write(buf, run.page.into(), run.len as usize)
    }

    /// Writes a folio out, run by run.
    fn write(&self, entry: Entry, owner: u32) -> Result<(), StoreError> {
        let mut first = 0;
        for run in self.space.chain(entry) {
            let done = self.submit(run, owner, first).wait(soon())?;
            done.outcome.of(0, run.len as usize)?;
            first += run.len;
        }
        Ok(())
    }

    fn read_run(&self, run: Run) -> Result<Completed, StoreError> {
        let buf = self.store.take_buf(Direction::Read, soon())?;
        self.store
            .read(buf, run.page.into(), run.len as usize, soon())
    }

    /// Reads a folio and compares it.
    fn read(&self, entry: Entry, owner: u32) -> Result<(), StoreError> {
        let mut first = 0;
        for run in self.space.chain(entry) {
            let read = self.read_run(run)?;
            read.outcome.of(0, run.len as usize)?;
            for n in 0..run.len {
                assert_eq!(read.buf.pages(n as usize, 1), contents(owner, first + n));
            }
            first += run.len;
        }
        Ok(())
    }

    fn alloc(&self, nr: u32, owner: u32) -> Entry {
        self.space.alloc(nr, owner).expect("there is room")
    }

    fn count(&self, counter: Counter) -> u64 {
        self.store.counts().get(counter)
    }

    #[track_caller]
    fn verify(&self) {
        self.space.verify().expect("nothing is wrong");
    }
}

// ---- slots ----

fn lengths(map: &SlotMap, head: u32) -> Vec<u32> {
    let mut runs = vec![];
    let mut next = Some(head);
    while let Some(page) = next {
        let (run, after) = map.run(page, u32::MAX);
        runs.push(run.len);
        next = after;
    }
    runs
}

#[test]
fn slots_taken_one_after_another_lie_together_and_the_header_is_nobodys() {
    let mut map = SlotMap::new(1024, 2).expect("there is room");
    assert_eq!((map.nr_free(), map.owner(0)), (1023, None));
    let slots: Vec<_> = (0..300).map(|n| map.take(0, 1, n).expect("free")).collect();
    let expected: Vec<_> = (1..301).collect();
    assert_eq!(slots, expected);
    map.verify().expect("nothing is wrong");
}

#[test]
fn each_cpu_fills_a_cluster_of_its_own() {
    let mut map = SlotMap::new(1024, 2).expect("there is room");
    let first = [map.take(0, 1, 0), map.take(1, 1, 1), map.take(0, 1, 2)];
    assert_eq!(first, [Some(1), Some(256), Some(2)]);
}

#[test]
fn a_large_folio_begins_a_free_cluster_and_gets_whole_ones() {
    let mut map = SlotMap::new(2048, 1).expect("there is room");
    map.take(0, 200, 0).expect("free");
    let large = map.take(0, 512, 1).expect("free");
    assert_eq!((large, lengths(&map, large)), (256, vec![512]));
    // What the first cluster has left is found once there is nothing better.
    for n in 0..5 {
        map.take(0, 250, 2 + n).expect("free");
    }
    assert_eq!(map.nr_free(), 2047 - 200 - 512 - 5 * 250);
    let rest = map.take(0, map.nr_free(), 9).expect("free");
    assert!(lengths(&map, rest).len() > 1);
    assert_eq!(map.take(0, 1, 10), None);
    map.verify().expect("nothing is wrong");
}

#[test]
fn a_folio_never_fails_while_enough_slots_are_free() {
    let mut map = SlotMap::new(512, 1).expect("there is room");
    let singles: Vec<_> = (0..511).map(|n| map.take(0, 1, n).expect("free")).collect();
    for slot in singles.iter().step_by(2) {
        map.free(*slot);
    }
    let folio = map.take(0, 256, 7).expect("every second slot is free");
    assert_eq!(lengths(&map, folio), vec![1; 256]);
    map.verify().expect("nothing is wrong");
    assert_eq!(map.free(folio), 256);
    map.verify().expect("nothing is wrong");
}

#[test]
fn the_last_slots_are_found_in_the_clusters_of_other_cpus() {
    let mut map = SlotMap::new(512, 2).expect("there is room");
    map.take(1, 1, 0).expect("free");
    map.take(0, 1, 1).expect("free");
    let all = map.take(0, map.nr_free(), 2);
    assert!(all.is_some());
    assert_eq!(map.nr_free(), 0);
    map.verify().expect("nothing is wrong");
}

#[test]
fn a_slot_that_is_being_written_is_nobodys_until_the_write_ends() {
    let mut map = SlotMap::new(8, 1).expect("there is room");
    let head = map.take(0, 3, 5).expect("free");
    map.write_begins(head, 2);
    assert_eq!(map.free(head), 1);
    map.verify().expect("nothing is wrong");
    assert_eq!((map.owner(head), map.nr_free()), (None, 5));
    let taken = map.take(0, 5, 6).expect("the others are free");
    assert_eq!(map.take(0, 1, 7), None);
    assert_eq!(map.write_ends(head, 2), 2);
    map.verify().expect("nothing is wrong");
    assert_eq!(map.free(taken) + map.nr_free(), 12);
}

#[test]
#[should_panic(expected = "no chain begins at slot")]
fn a_chain_is_freed_once() {
    let mut map = SlotMap::new(8, 1).expect("there is room");
    let head = map.take(0, 3, 5).expect("free");
    map.free(head);
    map.free(head);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take { cpu: usize, nr: u32 },
    Free { nth: usize },
    Begin { nth: usize },
    End { nth: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop_oneof![4 => Just(1u32), 2 => 2u32..20, 1 => 200u32..600];
    let step = prop_oneof![
        5 => (0..3usize, sizes).prop_map(|(cpu, nr)| Step::Take { cpu, nr }),
        3 => any::<usize>().prop_map(|nth| Step::Free { nth }),
        1 => any::<usize>().prop_map(|nth| Step::Begin { nth }),
        1 => any::<usize>().prop_map(|nth| Step::End { nth }),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the slots ought to be: chains by their heads, and writes under way.
#[derive(Default)]
struct Model {
    chains: BTreeMap<u32, (u32, Vec<u32>)>,
    writes: Vec<Run>,
}

fn chain_of(map: &SlotMap, head: u32) -> Vec<u32> {
    let (mut slots, mut next) = (vec![], Some(head));
    while let Some(page) = next {
        let (run, after) = map.run(page, 32);
        slots.extend(run.page..run.page + run.len);
        next = after;
    }
    slots
}

impl Model {
    fn used(&self) -> std::collections::BTreeSet<u32> {
        let chained = self
            .chains
            .values()
            .flat_map(|(_, slots)| slots.iter().copied());
        let written = self
            .writes
            .iter()
            .flat_map(|run| run.page..run.page + run.len);
        chained.chain(written).collect()
    }

    fn step(&mut self, map: &mut SlotMap, step: Step, owner: u32) {
        match step {
            Step::Take { cpu, nr } => {
                let used = self.used();
                let head = map.take(cpu, nr, owner);
                assert_eq!(
                    head.is_some(),
                    map.nr_used() as usize == used.len() + nr as usize
                );
                let Some(head) = head else { return };
                let slots = chain_of(map, head);
                assert_eq!(slots.len(), nr as usize);
                assert!(slots.iter().all(|slot| *slot != 0 && !used.contains(slot)));
                self.chains.insert(head, (owner, slots));
            }
            Step::Free { nth } => {
                let Some((&head, _)) = self.chains.iter().nth(nth % self.chains.len().max(1))
                else {
                    return;
                };
                let before = map.nr_free();
                let nr_freed = map.free(head);
                self.chains.remove(&head);
                assert_eq!(map.nr_free(), before + nr_freed);
            }
            Step::Begin { nth } => {
                let Some((_, slots)) = self.chains.values().nth(nth % self.chains.len().max(1))
                else {
                    return;
                };
                let (run, _) = map.run(slots[0], 32);
                let overlaps = |other: &Run| {
                    run.page < other.page + other.len && other.page < run.page + run.len
                };
                if !self.writes.iter().any(overlaps) {
                    map.write_begins(run.page, run.len);
                    self.writes.push(run);
                }
            }
            Step::End { nth } => {
                if !self.writes.is_empty() {
                    let run = self.writes.swap_remove(nth % self.writes.len());
                    map.write_ends(run.page, run.len);
                }
            }
        }
    }

    fn check(&self, map: &SlotMap) {
        map.verify().expect("nothing is wrong");
        assert_eq!(map.nr_used() as usize, self.used().len());
        for (&head, (owner, slots)) in &self.chains {
            assert_eq!(&chain_of(map, head), slots);
            assert!(slots.iter().all(|&slot| map.owner(slot) == Some(*owner)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slots_behave_like_a_map_of_chains(steps in steps(), nr_pages in 2u32..2000) {
        let mut map = SlotMap::new(nr_pages, 3).expect("there is room");
        let mut model = Model::default();
        for (owner, step) in steps.into_iter().enumerate() {
            model.step(&mut map, step, owner as u32);
            model.check(&map);
        }
    }
}

// ---- areas ----

#[test]
fn folios_of_all_sizes_make_the_round_trip() {
    let fix = fixture();
    let folios: Vec<_> = [1, 2, 64, 1, 512]
        .into_iter()
        .zip(0..)
        .map(|(nr, owner)| (fix.alloc(nr, owner), owner))
        .collect();
    for &(entry, owner) in &folios {
        assert_eq!(fix.write(entry, owner), Ok(()));
        assert_eq!(fix.space.owner(entry), Some(owner));
    }
    for &(entry, owner) in folios.iter().rev() {
        assert_eq!(fix.read(entry, owner), Ok(()));
        fix.space.free(entry);
    }
    assert_eq!(fix.space.free_pages(), 1023);
    fix.verify();
}

#[test]
fn folios_make_the_round_trip_on_a_real_file() {
    for (direct, io_uring) in [(true, true), (true, false), (false, true), (false, false)] {
        let builder = SwapFile::builder(pages(300) as u64).direct(direct);
        let file = builder.io_uring(io_uring).temporary();
        let file = file.expect("temporary files can be made");
        assert!(direct || !file.is_direct());
        let (space, owners) = (space(1 << 30), 0..20u32);
        let id = space.swap_on(Arc::new(file), 0).expect("it fits");
        let store = space.spec.stores.get(id).expect("it was added");
        assert!(io_uring || store.engine() == IoEngine::Threads);
        let device = Arc::new(FaultyDevice::in_memory(8192, Faults::none()));
        let fix = Fixture {
            space,
            device,
            id,
            store,
        };
        let entries: Vec<_> = owners
            .map(|owner| (fix.alloc(owner % 5 * 4 + 1, owner), owner))
            .collect();
        for &(entry, owner) in &entries {
            assert_eq!(fix.write(entry, owner), Ok(()));
        }
        for &(entry, owner) in &entries {
            assert_eq!(fix.read(entry, owner), Ok(()));
        }
    }
}

/// Swap on a real file that somebody else can get at.
fn on_a_file(io_uring: bool) -> (Fixture, std::fs::File) {
    let builder = SwapFile::builder(pages(64) as u64).io_uring(io_uring);
    let file = builder.direct(false).temporary();
    let file = file.expect("temporary files can be made");
    let same = file.file().try_clone().expect("it is open");
    let space = space(1 << 30);
    let id = space.swap_on(Arc::new(file), 0).expect("it fits");
    let store = space.spec.stores.get(id).expect("it was added");
    let device = Arc::new(FaultyDevice::in_memory(8192, Faults::none()));
    let fix = Fixture {
        space,
        device,
        id,
        store,
    };
    (fix, same)
}

#[test]
fn a_file_that_was_cut_off_or_damaged_is_an_error_for_exactly_its_reader() {
    use std::os::unix::fs::FileExt;
    for io_uring in [true, false] {
        let (fix, file) = on_a_file(io_uring);
        let entries = [1, 2, 3].map(|owner| fix.alloc(1, owner));
        for (owner, &entry) in (1..).zip(&entries) {
            assert_eq!(fix.write(entry, owner), Ok(()));
        }
        let at = |n: usize| u64::from(entries[n].page()) * PAGE_SIZE as u64;
        file.write_all_at(b"other", at(1) + 100).expect("it writes");
        file.set_len(at(2) + 1000).expect("it can be cut");
        let run = Run {
            page: entries[0].page(),
            len: 3,
        };
        let together = fix.read_run(run).expect("it is not stalled").outcome;
        let each = [0, 1, 2].map(|n| together.of(n, 1).is_ok());
        assert_eq!(each, [true, false, false]);
        assert_eq!(fix.read(entries[0], 1), Ok(()));
        assert_eq!(fix.read(entries[1], 2), Err(StoreError::Corrupt));
        assert_eq!(fix.read(entries[2], 3), Err(StoreError::Failed));
        assert_eq!(fix.count(Counter::Corrupt), 2);
        assert_eq!(fix.count(Counter::ReadErrors), 4);
        assert_eq!(fix.count(Counter::Reads), 4);
    }
}

#[test]
fn a_created_file_is_its_owners_alone_and_never_another_file() {
    use std::os::unix::fs::PermissionsExt;

    let path = std::env::temp_dir().join(format!("pagepool-swap-{}", std::process::id()));
    let file = SwapFile::create(&path, pages(4) as u64 + 100).expect("it can be made");
    let metadata = std::fs::metadata(&path).expect("it is there");
    let again = SwapFile::create(&path, 8192)
        .expect_err("it is there already")
        .to_string();
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        (metadata.len(), file.capacity()),
        (pages(4) as u64, pages(4) as u64)
    );
    assert!(
        again.contains(path.to_str().expect("it is text")),
        "{again}"
    );
    assert!(again.contains("does not exist"), "{again}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = SwapFile::builder(8192)
        .directory("/nowhere/at/all")
        .temporary();
    let error = error.expect_err("there is no such directory").to_string();
    assert!(
        error.contains("/nowhere/at/all") && error.contains("name a directory"),
        "{error}"
    );
}

#[test]
fn damaged_data_is_an_error_for_exactly_its_reader() {
    let fix = fixture();
    let entries = [1, 2, 3].map(|owner| fix.alloc(1, owner));
    for (entry, owner) in entries.into_iter().zip(1..) {
        assert_eq!(fix.write(entry, owner), Ok(()));
    }
    // The first attempt at all three, then each by itself: the third call is that for the second page.
    fix.device.set_faults(
        Faults::none()
            .nth(1, Fault::CorruptRead)
            .nth(3, Fault::CorruptRead),
    );
    let read = fix
        .read_run(Run {
            page: entries[0].page(),
            len: 3,
        })
        .expect("not stalled");
    assert_eq!(read.outcome.of(0, 1), Ok(()));
    assert_eq!(read.outcome.of(1, 1), Err(StoreError::Corrupt));
    assert_eq!(read.outcome.of(2, 1), Ok(()));
    assert_eq!(fix.count(Counter::Corrupt), 1);
}

#[test]
fn a_slot_that_was_never_written_or_belongs_elsewhere_does_not_match() {
    let fix = fixture();
    let (first, second) = (fix.alloc(1, 1), fix.alloc(1, 2));
    assert_eq!(fix.read(first, 1), Err(StoreError::Corrupt));
    assert_eq!(fix.write(first, 1), Ok(()));
    // The device loses the write to the second slot and has the first one's page there instead.
    let bytes = contents(1, 0);
    let offset = |entry: Entry| u64::from(entry.page()) * PAGE_SIZE as u64;
    assert_eq!(fix.write(second, 1), Ok(()));
    fix.device
        .write_at(&bytes, offset(second))
        .expect("no faults");
    assert_eq!(
        fix.read(second, 1),
        Ok(()),
        "the same bytes in their place are the same"
    );
    fix.space.free(second);
    assert_eq!(fix.read(first, 1), Ok(()));
}

#[test]
fn torn_writes_are_found_whether_the_device_says_so_or_not() {
    let fix = fixture();
    let entry = fix.alloc(2, 1);
    fix.device
        .set_faults(Faults::none().one_in(1, Fault::TornWrite));
    assert_eq!(fix.write(entry, 1), Err(StoreError::Failed));
    assert_eq!(fix.count(Counter::WriteErrors), 2);
    fix.device
        .set_faults(Faults::none().nth(1, Fault::SilentTornWrite));
    assert_eq!(fix.write(entry, 1), Ok(()));
    let read = fix
        .read_run(Run {
            page: entry.page(),
            len: 2,
        })
        .expect("not stalled");
    assert_eq!(read.outcome.of(0, 1), Ok(()));
    assert_eq!(read.outcome.of(1, 1), Err(StoreError::Corrupt));
}

#[test]
fn short_writes_go_on_and_transient_errors_pass() {
    let fix = fixture();
    let entry = fix.alloc(32, 1);
    fix.device.set_faults(
        Faults::none()
            .nth(1, Fault::ShortWrite)
            .nth(2, Fault::TransientWriteError)
            .nth(1, Fault::TransientReadError),
    );
    assert_eq!(fix.write(entry, 1), Ok(()));
    assert_eq!(fix.read(entry, 1), Ok(()));
    assert_eq!(fix.count(Counter::Retries), 2);
    // Half a page is no progress, and is not taken for success.
    fix.device
        .set_faults(Faults::none().one_in(1, Fault::ShortWrite));
    let single = fix.alloc(1, 2);
    assert_eq!(fix.write(single, 2), Err(StoreError::Failed));
}

#[test]
fn a_full_device_is_no_failure_and_recovers() {
    let fix = fixture();
    let entry = fix.alloc(2, 1);
    fix.device.set_faults(Faults::none().one_in(1, Fault::Full));
    assert_eq!(fix.write(entry, 1), Err(StoreError::Full));
    fix.device.set_faults(Faults::none());
    assert_eq!(fix.write(entry, 1), Ok(()));
    assert_eq!(
        (fix.count(Counter::Full), fix.count(Counter::WriteErrors)),
        (2, 0)
    );
}

#[test]
fn a_permanent_read_error_is_one() {
    let fix = fixture();
    let entry = fix.alloc(1, 1);
    assert_eq!(fix.write(entry, 1), Ok(()));
    fix.device
        .set_faults(Faults::none().one_in(1, Fault::ReadError));
    assert_eq!(fix.read(entry, 1), Err(StoreError::Failed));
    assert_eq!(fix.count(Counter::ReadErrors), 1);
    fix.device.set_faults(Faults::none());
    assert_eq!(fix.read(entry, 1), Ok(()));
}

#[test]
fn the_slots_of_an_abandoned_write_are_free_only_when_it_ends() {
    let fix = fixture();
    let entry = fix.alloc(4, 1);
    fix.device
        .set_faults(Faults::none().nth(1, Fault::StalledWrite));
    let write = fix.submit(
        Run {
            page: entry.page(),
            len: 4,
        },
        1,
        0,
    );
    eventually(|| fix.device.nr_stalled() == 1);
    assert_eq!(write.wait(within(5)).err(), Some(StoreError::Stalled));
    fix.space.free(entry);
    assert_eq!(fix.space.free_pages(), 1019);
    fix.verify();
    let others = fix.alloc(1019, 2);
    assert_eq!(fix.space.alloc(1, 3), None);

    fix.device.release();
    eventually(|| fix.space.free_pages() == 4);
    fix.space.free(others);
    fix.verify();
}

#[test]
fn a_stalled_read_ends_by_itself() {
    let fix = fixture();
    let entry = fix.alloc(1, 1);
    assert_eq!(fix.write(entry, 1), Ok(()));
    let stall = Faults::none()
        .nth(1, Fault::StalledRead)
        .stall_for(Duration::from_millis(20));
    fix.device.set_faults(stall);
    assert_eq!(fix.read(entry, 1), Ok(()));
    assert_eq!(fix.device.count(Fault::StalledRead), 1);
}

#[test]
fn seeded_faults_never_turn_into_wrong_bytes() {
    let fix = fixture();
    let faults = Faults::seeded(11)
        .one_in(9, Fault::CorruptRead)
        .one_in(13, Fault::ReadError)
        .one_in(9, Fault::WriteError)
        .one_in(11, Fault::TornWrite)
        .one_in(13, Fault::SilentTornWrite)
        .one_in(7, Fault::ShortWrite)
        .one_in(15, Fault::TransientWriteError);
    fix.device.set_faults(faults);
    let (mut nr_read, mut nr_lost) = (0, 0);
    for owner in 0..300 {
        let entry = fix.alloc(owner % 7 + 1, owner);
        if fix.write(entry, owner).is_ok() {
            // `read` compares what it gets.
            match fix.read(entry, owner) {
                Ok(()) => nr_read += 1,
                Err(_) => nr_lost += 1,
            }
        }
        fix.space.free(entry);
    }
    assert!(
        nr_read > 50 && nr_lost > 5,
        "{nr_read} read, {nr_lost} lost"
    );
    fix.verify();
}

// ---- the table of areas ----

fn memory(nr: usize) -> Arc<FaultyDevice> {
    Arc::new(FaultyDevice::in_memory(pages(nr), Faults::none()))
}

#[test]
fn areas_are_filled_by_priority_and_equals_take_turns() {
    let space = space(1 << 30);
    let low = space.swap_on(memory(1024), -1).expect("it fits");
    let peers = [0, 0].map(|priority| space.swap_on(memory(129), priority).expect("it fits"));
    let stores: Vec<_> = (0..257)
        .map(|owner| space.alloc(1, owner).expect("free").store())
        .collect();
    assert!(stores[..64].iter().all(|&store| store == peers[0]));
    assert!(stores[64..128].iter().all(|&store| store == peers[1]));
    assert!(stores[128..192].iter().all(|&store| store == peers[0]));
    assert_eq!(stores[256], low);
    assert!(!stores[..256].contains(&low));
    space.verify().expect("nothing is wrong");
}

#[test]
fn a_folio_that_no_single_area_can_hold_is_refused_and_nothing_is_lost() {
    let space = space(1 << 30);
    for _ in 0..2 {
        space.swap_on(memory(9), 0).expect("it fits");
    }
    assert_eq!(space.free_pages(), 16);
    assert_eq!(space.alloc(16, 1), None);
    assert_eq!(space.free_pages(), 16);
    assert!(space.alloc(8, 1).is_some());
}

#[test]
fn swap_is_half_full_when_less_than_half_is_free() {
    let space = space(1 << 30);
    assert!(!space.is_half_full() && !space.has_area());
    space.swap_on(memory(9), 0).expect("it fits");
    let first = space.alloc(4, 1).expect("free");
    assert!(!space.is_half_full());
    space.alloc(1, 2).expect("free");
    assert!(space.is_half_full() && space.has_area());
    space.free(first);
    assert!(!space.is_half_full());
}

#[test]
fn an_area_goes_once_it_holds_nothing() {
    let fix = fixture();
    let entries = [1, 700, 1].map(|nr| fix.alloc(nr, nr));
    let area = fix.space.begin_swap_off(fix.id).expect("it is there");
    assert_eq!((fix.space.alloc(1, 9), fix.space.free_pages()), (None, 0));
    let error = fix
        .space
        .finish_swap_off(fix.id, soon())
        .expect_err("it holds folios");
    assert!(error.to_string().contains("702 pages"), "{error}");

    let mut from = 0;
    let mut seen = vec![];
    while let Some((entry, owner)) = area.next_chain(from) {
        seen.push((entry, owner));
        from = entry.page() + 1;
        fix.space.free(entry);
    }
    seen.sort_by_key(|(entry, _)| *entry);
    let mut expected = entries.map(|entry| (entry, if entry == entries[1] { 700 } else { 1 }));
    expected.sort_by_key(|(entry, _)| *entry);
    assert_eq!(seen, expected);
    fix.space
        .finish_swap_off(fix.id, soon())
        .expect("it holds nothing");
    assert!(fix.space.area(fix.id).is_none() && !fix.space.has_area());
    assert!(matches!(
        fix.space.begin_swap_off(fix.id),
        Err(SwapError::Unknown)
    ));
    // Its room under the limit is free again.
    fix.space.swap_on(memory(1024), 0).expect("it fits");
    fix.verify();
}

#[test]
fn swap_off_can_be_called_off() {
    let fix = fixture();
    fix.space.begin_swap_off(fix.id).expect("it is there");
    fix.space.cancel_swap_off(fix.id).expect("it is there");
    assert_eq!(fix.space.free_pages(), 1023);
    fix.alloc(1, 1);
    fix.verify();
}

#[test]
fn swap_off_does_not_wait_for_a_stalled_device_for_ever() {
    let fix = fixture();
    let entry = fix.alloc(1, 1);
    assert_eq!(fix.write(entry, 1), Ok(()));
    fix.device
        .set_faults(Faults::none().nth(1, Fault::StalledRead));
    let buf = fix.store.take_buf(Direction::Read, soon()).expect("free");
    let read = fix.store.submit_read(buf, entry.page().into(), 1);
    eventually(|| fix.device.nr_stalled() == 1);
    fix.space.free(entry);
    let error = fix
        .space
        .finish_swap_off(fix.id, within(5))
        .expect_err("it is stalled");
    assert!(matches!(error, SwapError::Busy { .. }), "{error}");
    let error = fix.space.cancel_swap_off(fix.id).expect_err("it is ending");
    assert!(matches!(error, SwapError::Ending { .. }), "{error}");
    fix.device.release();
    drop(read);
    fix.space
        .finish_swap_off(fix.id, soon())
        .expect("it is free");
}

#[test]
fn the_limit_and_other_bounds_are_named() {
    let space = space(pages(100) as u64);
    let small = space
        .swap_on(memory(1), 0)
        .expect_err("a header only")
        .to_string();
    assert!(
        small.contains("4096 bytes") && small.contains("8192"),
        "{small}"
    );
    space.swap_on(memory(60), 0).expect("it fits");
    let over = space
        .swap_on(memory(50), 0)
        .expect_err("it is too much")
        .to_string();
    assert!(
        over.contains("swap_limit = 409600") && over.contains("163840"),
        "{over}"
    );
    space.swap_on(memory(40), 0).expect("it fits exactly");
}

#[test]
fn tables_stay_within_what_was_declared() {
    for nr in [2, 100, 5000, 300_000] {
        let area = Area::bytes_for(nr);
        assert!(area <= SwapSpace::bytes_for(pages(nr) as u64), "{nr}");
        assert!(area >= nr * 12, "{nr}");
    }
    assert_eq!(SwapSpace::bytes_for(0), 0);
}

#[test]
fn threads_take_and_free_slots_while_an_area_comes_and_goes() {
    let space = space(1 << 30);
    space.swap_on(memory(600), 0).expect("it fits");
    std::thread::scope(|scope| {
        for cpu in 0..3 {
            let space = &space;
            scope.spawn(move || {
                with_cpu(cpu, || {
                    for round in 0..400 {
                        let entries: Vec<_> =
                            (1..9).filter_map(|nr| space.alloc(nr, round)).collect();
                        for entry in entries {
                            space.free(entry);
                        }
                    }
                });
            });
        }
        for _ in 0..50 {
            let id = space.swap_on(memory(300), 5).expect("it fits");
            thread::yield_now();
            space.begin_swap_off(id).expect("it is there");
            let mut ended = space.finish_swap_off(id, soon());
            while matches!(ended, Err(SwapError::InUse { .. })) {
                thread::yield_now();
                ended = space.finish_swap_off(id, soon());
            }
            ended.expect("it holds nothing");
        }
    });
    assert_eq!(space.free_pages(), 599);
    space.verify().expect("nothing is wrong");
}

// ---- speed ----

const TOTAL: usize = 256 << 20;

/// Bytes a second at which `f` deals with [`TOTAL`] of them.
fn rate(f: impl FnOnce()) -> f64 {
    let start = clock::now();
    f();
    TOTAL as f64 / clock::now().saturating_duration_since(start).as_secs_f64()
}

/// Writes a file 64 KiB at a time, the plain way.
fn write_plainly(file: &SwapFile) {
    const CHUNK: usize = 64 << 10;
    let memory = crate::arena::ZeroedTable::<u8>::new(CHUNK, "a test").expect("there is room");
    for offset in (0..TOTAL).step_by(CHUNK) {
        let written = file.write_at(&memory, offset as u64);
        assert_eq!(written.expect("it writes"), CHUNK);
    }
}

/// Writes single pages out as reclaim does: one buffer is filled while another is written.
fn swap_out(space: &SwapSpace, store: &Store) -> Vec<Entry> {
    let mut entries = vec![];
    let mut in_flight: Option<InFlight> = None;
    let mut next = space.alloc(1, 0);
    while let Some(first) = next {
        let mut buf = store.take_buf(Direction::Write, soon()).expect("free");
        let mut nr = 0;
        while nr < IO_PAGES && next.is_some_and(|entry| entry.page() == first.page() + nr as u32) {
            buf.pages_mut(nr, 1).copy_from_slice(&[nr as u8; PAGE_SIZE]);
            entries.extend(next);
            nr += 1;
            let is_last = entries.len() == TOTAL / PAGE_SIZE;
            next = if is_last { None } else { space.alloc(1, 0) };
        }
        let started = store.submit_write(buf, first.page().into(), nr);
        if let Some(before) = in_flight.replace(started) {
            let done = before.wait(soon()).expect("not stalled");
            assert_eq!(done.outcome, Outcome::DONE);
        }
    }
    let last = in_flight.expect("there was something to write");
    assert_eq!(
        last.wait(soon()).expect("not stalled").outcome,
        Outcome::DONE
    );
    entries
}

#[test]
#[ignore = "measures the disk for seconds; run it alone and optimised"]
fn swapping_out_is_at_least_85_percent_of_a_plain_loop() {
    let bytes = TOTAL as u64 + (64 << 20);
    let file = Arc::new(SwapFile::temporary(bytes).expect("it can be made"));
    write_plainly(&file);
    let space = space(1 << 30);
    let id = space.swap_on(file.clone(), 0).expect("it fits");
    let store = space.spec.stores.get(id).expect("it was added");
    let ratios = [0; 3].map(|_| {
        let plain = rate(|| write_plainly(&file));
        let mut entries = vec![];
        let swapped = rate(|| entries = swap_out(&space, &store));
        entries.into_iter().for_each(|entry| space.free(entry));
        println!("plain {plain:.3e} bytes a second, swap {swapped:.3e}");
        swapped / plain
    });
    let best = ratios.into_iter().fold(0.0, f64::max);
    assert!(best >= 0.85, "{ratios:?}");
}

/// Reads single pages in no order, each way in turn; returns the median of each in microseconds.
fn read_latencies<const N: usize>(
    entries: &[Entry],
    mut ways: [&mut dyn FnMut(Entry); N],
) -> [f64; N] {
    const ROUNDS: usize = 3000;
    let mut rng = crate::sync::rng::Rng::new(7);
    let mut times = [(); N].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let entry = entries[rng.next_u64() as usize % entries.len()];
            let start = clock::now();
            way(entry);
            times.push(clock::now().saturating_duration_since(start));
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_secs_f64() * 1e6
    })
}

/// A store on a file that is full.
fn full_store(io_uring: bool) -> (Store, Arc<SwapFile>, Vec<Entry>) {
    let builder = SwapFile::builder(TOTAL as u64 + (64 << 20)).io_uring(io_uring);
    let file = Arc::new(builder.temporary().expect("it can be made"));
    let space = space(1 << 30);
    let id = space.swap_on(file.clone(), 0).expect("it fits");
    let store = space.spec.stores.get(id).expect("it was added");
    let entries = swap_out(&space, &store);
    (store, file, entries)
}

#[test]
#[ignore = "measures the disk for seconds; run it alone and optimised"]
fn reading_a_page_by_a_ring_is_quicker_than_by_a_thread() {
    let (by_threads, _, entries_of_threads) = full_store(false);
    let (by_rings, file, entries) = full_store(true);
    assert_eq!(by_rings.engine(), IoEngine::IoUring, "not permitted here");
    let read = |store: &Store, entry: Entry| {
        let buf = store.take_buf(Direction::Read, soon()).expect("free");
        let read = store.read(buf, entry.page().into(), 1, soon());
        assert_eq!(read.expect("it answers").outcome, Outcome::DONE);
    };
    // What was written on one store lies elsewhere on the other.
    let nth = |entry: Entry| entries_of_threads[entry.page() as usize % entries_of_threads.len()];
    let memory = crate::arena::ZeroedTable::<u8>::new(2 * PAGE_SIZE, "a test");
    let mut memory = memory.expect("there is room");
    let start = (memory.as_ptr() as usize).next_multiple_of(PAGE_SIZE) - memory.as_ptr() as usize;
    let mut read_plainly = |entry: Entry| {
        let bytes = &mut memory[start..start + PAGE_SIZE];
        let nr = file.read_at(bytes, u64::from(entry.page()) * PAGE_SIZE as u64);
        assert_eq!(nr.expect("it reads"), PAGE_SIZE);
        crc32c::crc32c(bytes)
    };
    for _ in 0..3 {
        let [plain, ring, thread] = read_latencies(
            &entries,
            [
                &mut |entry| {
                    std::hint::black_box(read_plainly(entry));
                },
                &mut |entry| read(&by_rings, entry),
                &mut |entry| read(&by_threads, nth(entry)),
            ],
        );
        println!("plain with checksum {plain:.1} µs, ring {ring:.1} µs, thread {thread:.1} µs");
        assert!(ring < thread, "{ring:.1} and {thread:.1} µs");
    }
}
