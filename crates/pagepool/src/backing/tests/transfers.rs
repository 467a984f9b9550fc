//! Transfers by workers: what becomes of buffers, of failures, of the workers and of their store.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn what_is_written_is_read() {
    let fix = fixture();
    assert_eq!(outcome(fix.write(3, 2, 7)), Outcome::DONE);
    let read = fix.read(3, 2).wait(soon()).expect("it is not stalled");
    assert_eq!(read.outcome, Outcome::DONE);
    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == 7));
    assert_eq!(fix.count(Counter::PagesWritten), 2);
    assert_eq!(fix.count(Counter::PagesRead), 2);
    assert!(fix.watch.0.lock().is_empty());
}

#[test]
fn a_store_that_does_nothing_has_no_thread() {
    let never: Spawn = |_, _| panic!("nothing to do");
    let fix = fixture_with(never, Duration::from_secs(1));
    drop(fix.store.take_buf(Direction::Write, soon()));
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn two_writes_are_in_flight_at_once() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let first = fix.write(1, 1, 1);
    let second = fix.write(2, 1, 2);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 2);
    assert_eq!(fix.store.nr_in_flight(), 2);
    assert_eq!(*fix.watch.0.lock(), [1, 2]);
    assert!(!first.has_ended());
    fix.backing.set(Script::Work);
    assert_eq!(outcome(first), Outcome::DONE);
    assert_eq!(outcome(second), Outcome::DONE);
}

#[test]
fn a_question_is_asked_once_and_on_a_worker() {
    let fix = fixture();
    assert_eq!(fix.store.ask(3, soon()), Ok(()));
    let answers = [
        (Script::FailPage(3), StoreError::Failed),
        (Script::Transient { times: 2 }, StoreError::Failed),
        (Script::Panic, StoreError::Panicked),
    ];
    for (n, (script, error)) in (1..).zip(answers) {
        fix.backing.set(script);
        assert_eq!(fix.store.ask(3, soon()), Err(error));
        assert_eq!(fix.backing.nr_calls.load(Relaxed), 1 + n);
    }
    assert_eq!(fix.count(Counter::Panics), 1);
    assert_eq!(
        (fix.count(Counter::Reads), fix.count(Counter::Writes)),
        (0, 0)
    );
    assert!(fix.backing.was_inside.lock().iter().all(|inside| *inside));
}

#[test]
fn a_store_that_owes_an_answer_is_not_asked_again_and_serves_others() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    assert_eq!(fix.store.ask(3, within(300)), Err(StoreError::Stalled));
    assert_eq!(fix.store.ask(4, soon()), Err(StoreError::Stalled));
    assert_eq!(fix.backing.nr_calls.load(Relaxed), 1, "it was not asked");
    let take = |direction| -> Vec<_> {
        std::iter::from_fn(|| fix.store.try_take_buf(direction)).collect()
    };
    assert_eq!(take(Direction::Write).len(), 4);
    assert_eq!(take(Direction::Read).len(), 6);
    fix.backing.set(Script::Work);
    eventually(|| fix.store.nr_in_flight() == 0);
    assert_eq!(fix.store.ask(4, soon()), Ok(()));
}

#[test]
fn neither_direction_takes_all_buffers() {
    let fix = fixture();
    let take = |direction| -> Vec<_> {
        std::iter::from_fn(|| fix.store.try_take_buf(direction)).collect()
    };
    let writes = take(Direction::Write);
    let reads = take(Direction::Read);
    assert_eq!((writes.len(), reads.len()), (4, 4));
    assert_eq!(
        fix.store.take_buf(Direction::Read, within(25)).err(),
        Some(StoreError::Stalled)
    );
    assert_eq!(fix.count(Counter::Stalls), 1);
    drop(writes);
    let more_reads = take(Direction::Read);
    assert_eq!((more_reads.len(), take(Direction::Write).len()), (2, 2));
}

#[test]
fn a_buffer_is_waited_for() {
    let fix = fixture();
    let held: Vec<_> = std::iter::from_fn(|| fix.store.try_take_buf(Direction::Write)).collect();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| fix.store.take_buf(Direction::Write, soon()).is_ok());
        thread::sleep(Duration::from_millis(5));
        drop(held);
        assert!(waiter.join().expect("it does not panic"));
    });
}

#[test]
fn an_abandoned_write_keeps_its_buffer_until_it_ends() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(5, 1, 9);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    assert_eq!(stalled.wait(within(25)).err(), Some(StoreError::Stalled));
    assert_eq!(fix.store.nr_in_flight(), 1);
    assert_eq!(*fix.watch.0.lock(), [5]);
    assert_eq!(fix.count(Counter::Stalls), 1);
    assert_eq!(fix.count(Counter::Abandoned), 1);

    fix.backing.set(Script::Work);
    eventually(|| fix.store.nr_in_flight() == 0);
    assert!(fix.watch.0.lock().is_empty());
    assert_eq!(fix.nr_vacant(), 8);
}

/// A deadline of a microsecond says nothing about the store, unless the store has owed somebody an answer for long.
#[test]
fn a_store_is_not_blamed_for_who_had_no_time() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let now = || clock::deadline_after(Duration::from_micros(1));
    let begun = clock::now();
    let first = fix.write(5, 1, 9);
    let gave_up = fix.write(9, 1, 9).wait(now()).err();
    let in_the_way = outcome(fix.read(5, 1)).error();
    let was_quick = clock::now().saturating_duration_since(begun) < Duration::from_millis(20);
    let late = Some(StoreError::Late);
    assert!(!was_quick || (gave_up, in_the_way) == (late, late));
    assert!(!was_quick || fix.count(Counter::Stalls) == 0);

    thread::sleep(Duration::from_millis(25));
    let stalled = Some(StoreError::Stalled);
    assert_eq!(fix.write(12, 1, 9).wait(now()).err(), stalled);
    assert_eq!(outcome(fix.read(5, 1)).error(), stalled);
    assert!(fix.count(Counter::Stalls) > 0);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(first), Outcome::DONE);
    eventually(|| fix.store.nr_in_flight() == 0);
}

#[test]
fn nothing_overtakes_an_abandoned_write_of_the_same_page() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(5, 2, 9);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    assert_eq!(stalled.wait(within(25)).err(), Some(StoreError::Stalled));
    assert_eq!(
        outcome(fix.write(6, 3, 1)).error(),
        Some(StoreError::Stalled)
    );
    assert_eq!(outcome(fix.read(4, 2)).error(), Some(StoreError::Stalled));
    assert_eq!(*fix.watch.0.lock(), [5, 6]);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(fix.write(7, 1, 1)), Outcome::DONE);
    eventually(|| fix.store.nr_in_flight() == 0);
    assert_eq!(outcome(fix.write(6, 3, 1)), Outcome::DONE);
}

#[test]
fn an_abandoned_transfer_that_has_not_begun_is_called_off() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let running: Vec<_> = (0..4).map(|page| fix.read(page, 1)).collect();
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 4);
    drop(fix.write(7, 1, 1));
    assert_eq!(fix.store.nr_in_flight(), 4);
    assert!(fix.watch.0.lock().is_empty());
    fix.backing.set(Script::Work);
    for read in running {
        assert_eq!(outcome(read), Outcome::DONE);
    }
    assert_eq!(fix.backing.nr_calls.load(Relaxed), 4);
}

#[test]
fn a_transfer_that_ended_and_is_abandoned_gives_its_buffer_back() {
    let fix = fixture();
    let write = fix.write(1, 1, 1);
    eventually(|| write.has_ended());
    drop(write);
    assert_eq!(fix.nr_vacant(), 8);
}

#[test]
fn a_panic_in_a_callback_is_caught_and_leaves_the_store_usable() {
    let fix = fixture();
    fix.backing.set(Script::Panic);
    let written = outcome(fix.write(0, 2, 1));
    assert_eq!(written.of(0, 1), Err(StoreError::Panicked));
    assert_eq!(outcome(fix.read(0, 1)).error(), Some(StoreError::Panicked));
    assert_eq!(fix.count(Counter::Panics), 2);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(fix.write(0, 1, 1)), Outcome::DONE);
}

#[test]
fn transient_errors_are_tried_again_but_not_for_ever() {
    let fix = fixture();
    fix.backing.set(Script::Transient { times: 3 });
    assert_eq!(outcome(fix.write(0, 1, 1)), Outcome::DONE);
    assert_eq!(fix.count(Counter::Retries), 3);
    fix.backing.set(Script::Transient { times: usize::MAX });
    assert_eq!(outcome(fix.read(0, 1)).error(), Some(StoreError::Failed));
    assert_eq!(fix.count(Counter::ReadErrors), 1);
}

#[test]
fn one_bad_page_takes_no_other_with_it() {
    let fix = fixture();
    fix.backing.set(Script::FailPage(5));
    let outcome = outcome(fix.write(4, 4, 1));
    assert_eq!(outcome.nr_failed(), 1);
    let pages = [0, 1, 2, 3].map(|page| outcome.of(page, 1).is_ok());
    assert_eq!(pages, [true, false, true, true]);
    assert_eq!(outcome.of(2, 2), Ok(()));
    assert_eq!(outcome.of(0, 4), Err(StoreError::Failed));
    assert_eq!(fix.count(Counter::WriteErrors), 1);
    assert_eq!(fix.count(Counter::PagesWritten), 3);
}

#[test]
fn full_and_held_are_no_errors_of_the_device() {
    let fix = fixture();
    fix.backing.set(Script::Full);
    assert_eq!(outcome(fix.write(0, 32, 1)).error(), Some(StoreError::Full));
    fix.backing.set(Script::Hold);
    assert_eq!(outcome(fix.write(0, 3, 1)).error(), Some(StoreError::Held));
    let counts = [Counter::Full, Counter::Held, Counter::WriteErrors].map(|c| fix.count(c));
    assert_eq!(counts, [32, 3, 0]);
}

#[test]
fn a_stuck_worker_is_replaced_and_goes_when_it_comes_back() {
    let fix = fixture_with(thread::spawn, Duration::from_millis(20));
    fix.backing.set(Script::Stall);
    let stuck: Vec<_> = (0..4).map(|page| fix.read(page, 1)).collect();
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 4);
    // Nobody is left for this one until the four are found stuck.
    let late = fix.read(9, 1);
    assert_eq!(late.wait(within(200)).err(), Some(StoreError::Stalled));
    assert_eq!(fix.count(Counter::Quarantined), 4);
    assert_eq!(fix.backing.nr_calls.load(Relaxed), 5);

    fix.backing.set(Script::Work);
    for read in stuck {
        assert_eq!(outcome(read), Outcome::DONE);
    }
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn callbacks_know_whose_they_are_and_on_whose_behalf() {
    let fix = fixture();
    assert!(!callback::is_inside(pool()));
    outcome(fix.read(0, 1));
    let other = PoolTag::of(&fix);
    {
        let _inside = callback::enter(callback::current(), other);
        outcome(fix.read(0, 1));
    }
    assert_eq!(*fix.backing.was_inside.lock(), [true, true]);
}

#[test]
fn shutting_down_names_who_does_not_return() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(1, 1, 1);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    let busy = fix.store.shut_down(within(25)).expect_err("one is stalled");
    assert!(busy.to_string().contains("1 worker"), "{busy}");
    // What was under way ends, what comes later is refused.
    let late = fix.write(2, 1, 1);
    assert_eq!(outcome(late).error(), Some(StoreError::Closed));
    assert_eq!(*fix.watch.0.lock(), [1]);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(stalled), Outcome::DONE);
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn without_a_thread_transfers_are_refused() {
    let none: Spawn = |_, _| Err(std::io::Error::other("no thread"));
    let fix = fixture_with(none, Duration::from_secs(1));
    assert_eq!(
        outcome(fix.write(1, 3, 1)).of(2, 1),
        Err(StoreError::Closed)
    );
    assert!(fix.watch.0.lock().is_empty());
}

#[test]
fn workers_end_with_the_last_handle() {
    let fix = fixture();
    outcome(fix.read(0, 1));
    let Fixture { backing, store, .. } = fix;
    drop(store);
    eventually(|| Arc::strong_count(&backing) == 1);
}

/// A backing whose callback shuts its own store down, as the drop of the last handle to a pool may.
struct ClosesItself(Mutex<Option<Store>>);

impl Backing for ClosesItself {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        let store = self.0.lock().take().expect("it is called once");
        store
            .shut_down(within(10_000))
            .map_err(|busy| std::io::Error::other(busy).into())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        Ok(WriteOut::Written)
    }
}

#[test]
fn a_worker_does_not_wait_for_itself() {
    let backing = Arc::new(ClosesItself(Mutex::new(None)));
    let store = Store::new(StoreSpec {
        id: StoreId::all().next().expect("there are numbers"),
        pool: pool(),
        backing: Arc::clone(&backing) as _,
        in_file: None,
        watch: None,
        spawn: thread::spawn,
        stuck_after: Duration::from_secs(60),
        max_asks: StoreSpec::ONE_ASK,
    });
    let store = store.expect("there is room");
    *backing.0.lock() = Some(store.clone());
    let buf = store.take_buf(Direction::Read, soon()).expect("free");
    assert_eq!(outcome(store.submit_read(buf, 0, 1)), Outcome::DONE);
}

#[test]
fn many_threads_share_the_buffers() {
    let fix = fixture();
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let fix = &fix;
            scope.spawn(move || {
                for round in 0..40 {
                    let fill = (thread * 40 + round) as u8;
                    assert_eq!(outcome(fix.write(thread * 2, 2, fill)), Outcome::DONE);
                    let read = fix.read(thread * 2, 2).wait(soon()).expect("not stalled");
                    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == fill));
                }
            });
        }
    });
    assert_eq!(fix.count(Counter::Writes), 240);
    assert_eq!(fix.store.nr_in_flight(), 0);
}
