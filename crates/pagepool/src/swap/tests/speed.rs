//! How fast swap is beside a plain loop, and a ring beside a thread.

use super::*;
use crate::backing::{IO_PAGES, IoEngine, Outcome};

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
