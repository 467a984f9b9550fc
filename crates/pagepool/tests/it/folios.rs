//! Folios in memory: handles, guards, pins, advice.

use std::thread;
use std::time::{Duration, Instant};

use pagepool::{AccessError, Advice, AllocError, Folio, Gfp, PAGE_SIZE, PagePool};

use crate::assert_all_back;

fn pool() -> PagePool {
    PagePool::builder().managed(16 << 20).build().unwrap()
}

fn folio(pool: &PagePool, len: usize) -> Folio {
    pool.alloc_folio(len, Gfp::USER_MOVABLE).unwrap()
}

#[test]
fn a_folio_is_zeros_until_it_is_written_and_as_long_as_asked() {
    let pool = pool();
    for len in [1, 100, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE, 4 << 20] {
        let mut folio = folio(&pool, len);
        assert_eq!(folio.len(), len);
        assert!(folio.order().bytes() >= len);
        assert!(folio.read().unwrap().iter().all(|byte| *byte == 0));
        folio.write().unwrap().fill(0xa5);
        assert!(folio.read().unwrap().iter().all(|byte| *byte == 0xa5));
        assert_eq!(folio.read().unwrap().len(), len);
        pool.verify().unwrap();
    }
    assert_all_back(&pool);
}

#[test]
fn a_freed_folio_leaves_nothing_to_the_next() {
    let pool = pool();
    for _ in 0..100 {
        let mut folio = folio(&pool, 2 * PAGE_SIZE);
        assert!(folio.read().unwrap().iter().all(|byte| *byte == 0));
        folio.write().unwrap().fill(0xff);
    }
    assert_all_back(&pool);
}

#[test]
fn a_length_out_of_range_never_fits() {
    let pool = pool();
    for len in [0, (4 << 20) + 1, usize::MAX] {
        let refused = pool.alloc_folio(len, Gfp::USER_MOVABLE);
        assert_eq!(refused.unwrap_err(), AllocError::NeverFits, "{len}");
        assert!(pool.blank_folio(len).is_err(), "{len}");
    }
}

#[test]
fn a_blank_folio_takes_no_memory_until_it_is_touched() {
    let pool = pool();
    let free = pool.stats().free_pages;
    let mut blank = pool.blank_folio(8 * PAGE_SIZE).unwrap();
    assert!(!blank.is_resident());
    assert_eq!(pool.stats().free_pages, free);
    assert_eq!(blank.try_read().unwrap_err(), AccessError::WouldBlock);
    assert_eq!(blank.try_write().unwrap_err(), AccessError::WouldBlock);
    assert_eq!(blank.read().unwrap()[77], 0);
    assert!(blank.is_resident());
    blank.try_write().unwrap()[77] = 1;
    assert_eq!(blank.try_read().unwrap()[77], 1);
    drop(blank);
    assert_all_back(&pool);
}

#[test]
fn folios_outlive_the_handles_of_their_pool() {
    let pool = pool();
    let mut kept = folio(&pool, PAGE_SIZE);
    let mut blank = pool.blank_folio(PAGE_SIZE).unwrap();
    drop(pool);
    kept.write().unwrap().fill(3);
    blank.write().unwrap().fill(4);
    assert_eq!((kept.read().unwrap()[9], blank.read().unwrap()[9]), (3, 4));
    drop(kept);
    assert_eq!(blank.read().unwrap()[9], 4);
}

#[test]
fn a_pool_that_has_folios_out_says_so_when_it_is_closed() {
    let pool = pool();
    let kept = folio(&pool, PAGE_SIZE);
    let held = pool.close(Duration::from_millis(20)).unwrap_err();
    assert_eq!(held.pages(), 1);
    drop(kept);
    held.into_pool().close(Duration::from_secs(1)).unwrap();
}

/// Who closed a pool slept on until its patience ended: the last folio's memory woke it, if there was any,
/// before that folio was gone.
#[test]
fn the_end_of_the_last_folio_is_seen_by_who_closes_the_pool() {
    const LONG: Duration = Duration::from_secs(20);
    for is_blank in [true, false] {
        let pool = pool();
        let last = if is_blank {
            pool.blank_folio(PAGE_SIZE).unwrap()
        } else {
            folio(&pool, PAGE_SIZE)
        };
        thread::scope(|scope| {
            let closer = scope.spawn(|| {
                let start = Instant::now();
                pool.close(LONG).map(|()| start.elapsed())
            });
            // Until it sleeps; if it does not yet, there is nothing to wake.
            thread::sleep(Duration::from_millis(50));
            drop(last);
            let took = closer.join().unwrap().unwrap();
            assert!(took < LONG / 2, "blank: {is_blank}, {took:?}");
        });
    }
}

#[test]
fn bytes_are_copied_out_without_a_guard() {
    let pool = pool();
    let mut folio = folio(&pool, 3 * PAGE_SIZE);
    for (n, byte) in folio.write().unwrap().iter_mut().enumerate() {
        *byte = (n % 251) as u8;
    }
    for (offset, len) in [(0, 8), (1, 8), (4093, 9), (5000, 4096), (12_287, 1)] {
        let mut bytes = vec![0; len];
        assert!(folio.read_optimistic(offset, &mut bytes));
        let expected: Vec<_> = (offset..offset + len).map(|n| (n % 251) as u8).collect();
        assert_eq!(bytes, expected);
        bytes.fill(0);
        folio.read_at(offset, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }
}

#[test]
#[should_panic(expected = "2 bytes at 4095 of a folio of 4096")]
fn bytes_beyond_the_folio_are_not_copied() {
    let pool = pool();
    let _ = folio(&pool, PAGE_SIZE).read_optimistic(PAGE_SIZE - 1, &mut [0; 2]);
}

#[test]
fn a_pinned_folio_keeps_its_address() {
    let pool = pool();
    let mut folios: Vec<_> = (0..8).map(|_| folio(&pool, PAGE_SIZE)).collect();
    for (n, folio) in folios.iter_mut().enumerate() {
        folio.write().unwrap().fill(n as u8);
    }
    let pins = pool.pin_all(&folios).unwrap();
    let addrs: Vec<_> = pins.iter().map(pagepool::FolioPin::as_ptr).collect();
    for (folio, addr) in folios.iter().zip(addrs) {
        assert_eq!(folio.read().unwrap().as_ptr(), addr.cast_const());
    }
}

#[test]
fn pins_are_counted_up_to_a_limit() {
    let pool = pool();
    let folio = folio(&pool, PAGE_SIZE);
    let pins: Vec<_> = (0..63).map(|_| folio.pin().unwrap()).collect();
    assert_eq!(folio.pin().unwrap_err(), AccessError::TooManyPins);
    drop(pins);
    assert!(folio.pin().is_ok());
}

#[test]
fn a_discarded_folio_is_blank() {
    let pool = pool();
    let mut folio = folio(&pool, 4 * PAGE_SIZE);
    folio.write().unwrap().fill(9);
    folio.discard().unwrap();
    assert!(folio.read().unwrap().iter().all(|byte| *byte == 0));
    drop(folio);
    assert_all_back(&pool);
}

#[test]
fn advice_and_locks_leave_the_contents_alone() {
    let pool = pool();
    let mut folio = folio(&pool, PAGE_SIZE);
    folio.write().unwrap().fill(5);
    folio.advise(Advice::Cold).unwrap();
    folio.lock().unwrap();
    folio.lock().unwrap();
    pool.verify().unwrap();
    let locked = pool.stats().vmstat.get("unevictable_pgs_mlocked");
    assert_eq!(locked, Some(1));
    folio.unlock();
    folio.advise(Advice::WillNeed).unwrap();
    assert_eq!(folio.read().unwrap()[0], 5);
    drop(folio);
    assert_all_back(&pool);
}

#[test]
fn shared_folios_have_many_readers_or_one_writer() {
    let pool = pool();
    let one = folio(&pool, PAGE_SIZE).into_shared();
    let other = one.clone();
    let (a, b) = (one.read().unwrap(), other.read().unwrap());
    assert_eq!((a[0], b[0]), (0, 0));
    thread::scope(|scope| {
        let writer = scope.spawn(|| other.write_within(Duration::from_millis(20)).is_err());
        assert!(writer.join().unwrap(), "readers are in the way");
    });
    drop((a, b));
    one.write().unwrap()[0] = 1;
    assert_eq!(other.read().unwrap()[0], 1);
    assert!(one.clone().into_owned().is_err());
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    let pool = pool();
    let shared = folio(&pool, PAGE_SIZE).into_shared();
    let read = shared.read().unwrap();
    assert_eq!(shared.write().unwrap_err(), AccessError::Deadlock);
    assert!(shared.read().is_ok(), "to read twice is no deadlock");
    drop(read);
    let write = shared.write().unwrap();
    assert_eq!(shared.read().unwrap_err(), AccessError::Deadlock);
    assert_eq!(shared.write().unwrap_err(), AccessError::Deadlock);
    drop(write);
    assert!(shared.write().is_ok());
}

#[test]
fn a_waiting_writer_is_woken_by_the_last_reader() {
    let pool = pool();
    let shared = folio(&pool, PAGE_SIZE).into_shared();
    for round in 1..=50 {
        let read = shared.read().unwrap();
        let writer = {
            let shared = shared.clone();
            thread::spawn(move || shared.write().map(|mut bytes| bytes[0] = round))
        };
        thread::yield_now();
        assert_eq!(read[0], round - 1);
        drop(read);
        writer.join().unwrap().unwrap();
        assert_eq!(shared.read().unwrap()[0], round);
    }
}

#[test]
fn optimistic_readers_never_see_half_a_write() {
    let pool = pool();
    let shared = folio(&pool, PAGE_SIZE).into_shared();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..20_000_u64 {
                let mut bytes = shared.write().unwrap();
                for word in bytes[..1024].chunks_exact_mut(8) {
                    word.copy_from_slice(&round.to_ne_bytes());
                }
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let mut copy = [0; 1024];
            shared.read_at(0, &mut copy).unwrap();
            let mut words = copy
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
            let first = words.next().unwrap();
            assert!(words.all(|word| word == first), "half a write");
            assert!(first >= last, "back in time");
            last = first;
        }
    });
}
