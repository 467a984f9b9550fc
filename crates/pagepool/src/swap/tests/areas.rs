//! What is written to an area is read from it, or refused: round trips, damage, devices that fail.

use super::*;
use crate::backing::IoEngine;

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
    assert_eq!(write.wait(within(25)).err(), Some(StoreError::Stalled));
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
