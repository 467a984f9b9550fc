//! Arenas and tables against the real system. Other tests run meanwhile in this process, so nothing
//! here counts the mappings or the resident size of the whole process without a wide margin.

use std::{env, fmt, fs, path::PathBuf, process};

use super::huge::HugeBacking;
use super::*;
use crate::sync::atomic::{AtomicU8, Ordering::Relaxed};

const SOURCES: [Source; 2] = [Source::System, Source::Heap];

fn arena(pages: usize) -> Arena {
    Arena::new(pages, &ArenaOptions::default()).unwrap()
}

fn on(source: Source) -> ArenaOptions {
    ArenaOptions {
        source,
        ..ArenaOptions::default()
    }
}

/// Whether tests see real mappings.
fn is_mapped() -> bool {
    Source::System.in_this_build() == Source::System
}

fn write(arena: &Arena, index: usize, offset: usize, byte: u8) {
    assert!(offset < PAGE_SIZE);
    // SAFETY: the test owns every frame, and the offset is within the page.
    let place = unsafe { arena.ptr(index).add(offset) };
    // SAFETY: as above.
    unsafe { place.write(byte) };
}

fn read(arena: &Arena, index: usize, offset: usize) -> u8 {
    assert!(offset < PAGE_SIZE);
    // SAFETY: the test owns every frame, and the offset is within the page.
    let place = unsafe { arena.ptr(index).add(offset) };
    // SAFETY: as above.
    unsafe { place.read() }
}

fn fill(arena: &Arena, byte: u8) {
    // SAFETY: the test owns every frame.
    unsafe { arena.base().write_bytes(byte, arena.pages() * PAGE_SIZE) };
}

fn give_back(arena: &Arena, index: usize, pages: usize) -> io::Result<()> {
    // SAFETY: the test owns every frame, and needs no contents.
    unsafe { arena.give_back(index, pages) }
}

fn poison(arena: &Arena, index: usize, pages: usize) {
    // SAFETY: the test owns every frame.
    unsafe { arena.poison(index, pages) };
}

fn check_poison(arena: &Arena, index: usize, pages: usize) -> Result<(), usize> {
    // SAFETY: the test owns every frame.
    unsafe { arena.check_poison(index, pages) }
}

/// The error number with which the system answers a write to `addr`, without the fault that a write
/// of our own would raise.
fn errno_of_write(addr: *mut u8) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let zeros = fs::File::open("/dev/zero").unwrap();
    // SAFETY: asks the system to write one byte to an arena of this test, or to be refused.
    let rc = unsafe { libc::read(zeros.as_raw_fd(), addr.cast(), 1) };
    (rc < 0).then(|| io::Error::last_os_error().raw_os_error().unwrap())
}

/// The mappings of this process, as (start, end, rights).
fn maps() -> Vec<(usize, usize, String)> {
    fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .map(|line| {
            let mut fields = line.split([' ', '-']);
            let mut addr = || usize::from_str_radix(fields.next().unwrap(), 16).unwrap();
            (addr(), addr(), line.split(' ').nth(1).unwrap().to_owned())
        })
        .collect()
}

/// Asserts that no mapping is as large as `bytes`, a size that no other test uses.
#[track_caller]
fn assert_no_mapping_of(bytes: usize) {
    let left: Vec<_> = maps()
        .into_iter()
        .filter(|(start, end, _)| end - start >= bytes)
        .collect();
    // A sanitizer's shadow is larger than any arena.
    assert!(left.is_empty() || !is_mapped(), "A5: {left:x?}");
}

#[track_caller]
fn assert_refused_to_map(outcome: Result<impl fmt::Debug, BuildError>, errno: i32) {
    match outcome {
        Err(BuildError::Map { source, .. }) => assert_eq!(source.raw_os_error(), Some(errno)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn first_page_is_aligned_to_the_largest_block() {
    for pages in [16_usize, 17, 1023, 1024, 5000] {
        let own_size = pages.next_power_of_two() * PAGE_SIZE;
        for source in SOURCES {
            let base = Arena::new(pages, &on(source)).unwrap().base().addr().get();
            let align = match source.in_this_build() {
                Source::System => Order::MAX.bytes(),
                Source::Heap => Order::MAX.bytes().min(own_size),
            };
            assert_eq!(base % align, 0, "A1: {pages} pages at {base:x}");
        }
    }
}

#[test]
fn pages_and_addresses_map_to_each_other() {
    for source in SOURCES {
        let arena = Arena::new(16, &on(source)).unwrap();
        assert_eq!(arena.pages(), 16);
        for index in 0..16 {
            let page = arena.ptr(index).as_ptr();
            assert_eq!(arena.index_of(page), Some(index));
            assert_eq!(
                arena.index_of(page.wrapping_add(PAGE_SIZE - 1)),
                Some(index)
            );
        }
        let base = arena.base().as_ptr();
        assert_eq!(arena.index_of(base.wrapping_sub(1)), None);
        assert_eq!(arena.index_of(base.wrapping_add(16 * PAGE_SIZE)), None);
        assert_eq!(arena.index_of(std::ptr::null()), None);
    }
}

#[test]
fn guards_fault_at_both_ends() {
    if !is_mapped() {
        return;
    }
    let arena = arena(1024);
    let base = arena.base().as_ptr();
    let end = base.wrapping_add(1024 * PAGE_SIZE);

    assert_eq!(errno_of_write(base), None);
    assert_eq!(errno_of_write(end.wrapping_sub(1)), None);
    for guard in [
        base.wrapping_sub(1),
        base.wrapping_sub(PAGE_SIZE),
        end,
        end.wrapping_add(PAGE_SIZE - 1),
    ] {
        assert_eq!(errno_of_write(guard), Some(libc::EFAULT), "A2: {guard:?}");
    }
    let closed: Vec<_> = maps()
        .into_iter()
        .filter(|(_, _, rights)| rights == "---p")
        .collect();
    let covers = |addr: usize| {
        closed
            .iter()
            .any(|(start, end, _)| (*start..*end).contains(&addr))
    };
    assert!(
        covers(base.addr() - 1) && covers(end.addr()),
        "A2: {closed:x?}"
    );
}

#[test]
fn pages_read_as_zeros_at_first() {
    for source in SOURCES {
        let arena = Arena::new(16, &on(source)).unwrap();
        for index in 0..16 {
            assert_eq!(
                (read(&arena, index, 0), read(&arena, index, PAGE_SIZE - 1)),
                (0, 0)
            );
        }
    }
}

#[test]
fn pages_given_back_read_as_zeros_and_neighbours_stay() {
    for source in SOURCES {
        let arena = Arena::new(16, &on(source)).unwrap();
        fill(&arena, 7);
        give_back(&arena, 4, 8).unwrap();
        let first_bytes: Vec<u8> = (0..16).map(|index| read(&arena, index, 100)).collect();
        assert_eq!(
            first_bytes,
            [7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7]
        );
    }
}

#[test]
fn resident_size_falls_after_give_back() {
    if !is_mapped() {
        return;
    }
    let rss_pages = || -> usize {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let pages = (64 << 20) / PAGE_SIZE;
    let arena = arena(pages);
    assert_eq!(arena.resident_pages(0, pages).unwrap(), 0, "A4");

    fill(&arena, 1);
    let full = rss_pages();
    assert_eq!(arena.resident_pages(0, pages).unwrap(), pages);

    give_back(&arena, 0, pages).unwrap();
    assert_eq!(arena.resident_pages(0, pages).unwrap(), 0);
    let fallen = full.saturating_sub(rss_pages());
    assert!(fallen > pages / 2, "fell by {fallen} of {pages} pages");
}

#[test]
fn populate_makes_pages_resident_and_keeps_contents() {
    let small_steps = ArenaOptions {
        huge_pages: HugePages::Never,
        ..ArenaOptions::default()
    };
    let arena = Arena::new(64, &small_steps).unwrap();
    write(&arena, 3, 9, 42);
    // SAFETY: the test owns every frame.
    unsafe { arena.populate(0, 32) }.unwrap();
    assert_eq!(read(&arena, 3, 9), 42);
    assert_eq!(arena.resident_pages(0, 32).unwrap(), 32);
    if is_mapped() {
        assert_eq!(
            arena.resident_pages(32, 32).unwrap(),
            0,
            "the others are left alone"
        );
    }
}

#[test]
fn touch_makes_pages_resident_and_keeps_contents() {
    let arena = arena(64);
    write(&arena, 3, 0, 42);
    // SAFETY: the test owns every frame, and there are 32.
    unsafe { touch(arena.base(), 32) };
    assert_eq!(read(&arena, 3, 0), 42);
    assert_eq!(arena.resident_pages(0, 32).unwrap(), 32);
}

#[test]
fn zero_clears_pages_and_neighbours_stay() {
    let arena = arena(16);
    fill(&arena, 9);
    // SAFETY: the test owns every frame.
    unsafe { arena.zero(1, 2) };
    let last_bytes: Vec<u8> = (0..4)
        .map(|index| read(&arena, index, PAGE_SIZE - 1))
        .collect();
    assert_eq!(last_bytes, [9, 0, 0, 9]);
}

#[test]
fn reservation_of_64_gib_takes_no_memory() {
    if !is_mapped() {
        return;
    }
    let pages = (64 << 30) / PAGE_SIZE;
    let arena = arena(pages);
    assert_eq!(arena.resident_pages(0, pages).unwrap(), 0, "A4");
    write(&arena, pages - 1, 0, 1);
    assert!(arena.resident_pages(0, pages).unwrap() <= Order::MAX.pages());
}

#[test]
fn absurd_sizes_are_refused_with_the_errno() {
    if !is_mapped() {
        return;
    }
    let options = ArenaOptions::default();
    assert_refused_to_map(Arena::new(1 << 40, &options), libc::ENOMEM);
    assert_refused_to_map(Arena::new(usize::MAX, &options), libc::ENOMEM);
    assert_refused_to_map(ZeroedTable::<u64>::new(1 << 50, "a table"), libc::ENOMEM);
    assert_refused_to_map(ZeroedTable::<u64>::new(usize::MAX, "a table"), libc::ENOMEM);

    let error = Arena::new(1 << 40, &options).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot map 4503599627370496 bytes for an arena; "),
        "{text}"
    );
    let heap = Arena::new(1 << 50, &on(Source::Heap)).unwrap_err();
    assert!(matches!(heap, BuildError::Map { .. }), "{heap:?}");
}

#[test]
#[cfg_attr(pagepool_tsan, ignore = "the sanitizer maps memory meanwhile")]
fn failed_placement_leaves_nothing_mapped() {
    if !is_mapped() {
        return;
    }
    // Larger than anything that other tests map.
    let pages = (3 << 40) / PAGE_SIZE;
    for node in [1023, 1024, usize::MAX] {
        let options = ArenaOptions {
            host_node: Some(node),
            ..ArenaOptions::default()
        };
        match Arena::new(pages, &options) {
            Err(error @ BuildError::Place { .. }) => {
                assert_eq!(error.to_string(), "cannot place an arena on a host node");
            }
            other => panic!("{other:?}"),
        }
        assert_no_mapping_of(pages * PAGE_SIZE);
    }
    drop(arena(pages));
    assert_no_mapping_of(pages * PAGE_SIZE);
}

#[test]
fn host_node_0_is_accepted_where_the_host_has_numa() {
    let options = ArenaOptions {
        host_node: Some(0),
        ..ArenaOptions::default()
    };
    match Arena::new(16, &options) {
        Ok(arena) => write(&arena, 0, 0, 1),
        // No NUMA in this kernel, or a container that forbids the call.
        Err(BuildError::Place { source, .. }) => {
            let errno = source.raw_os_error().unwrap();
            assert!(
                [libc::ENOSYS, libc::EPERM, libc::EINVAL].contains(&errno),
                "{source}"
            );
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn huge_pages_may_be_wanted_or_not() {
    for huge_pages in [
        HugePages::AsHost,
        HugePages::WhenWhole,
        HugePages::Always,
        HugePages::Never,
    ] {
        let arena = Arena::new(
            2048,
            &ArenaOptions {
                huge_pages,
                ..ArenaOptions::default()
            },
        )
        .unwrap();
        write(&arena, 5, 0, 1);
        if is_mapped() && huge_pages == HugePages::Never {
            assert_eq!(arena.resident_pages(0, 2048).unwrap(), 1);
        }
    }
}

/// Whether the system makes a huge page of a pageblock when it is asked to.
fn has_huge_pages(arena: &Arena) -> bool {
    // SAFETY: the test owns every frame, and has written to none.
    let backed = unsafe { arena.back_hugely(0, 512) };
    let HugeBacking {
        backed_pages,
        refused_pages,
    } = arena.huge_backing();
    assert_eq!(backed as u64, backed_pages);
    assert_eq!(backed_pages + refused_pages, 512);
    backed > 0
}

/// The first byte of each page, and whether the page takes memory.
fn assert_reads_as_zeros(arena: &Arena, pages: Range<usize>) {
    assert!(pages.clone().all(|index| read(arena, index, 0) == 0));
}

#[test]
fn whole_pageblocks_are_backed_by_huge_pages_where_the_pool_wants_them() {
    if !is_mapped() {
        return;
    }
    let options = |huge_pages| ArenaOptions {
        huge_pages,
        ..ArenaOptions::default()
    };
    for huge_pages in [HugePages::AsHost, HugePages::Never] {
        let arena = Arena::new(2048, &options(huge_pages)).unwrap();
        // SAFETY: the test owns every frame.
        assert_eq!(unsafe { arena.back_hugely(0, 1024) }, 0);
        assert_eq!(arena.huge_backing(), HugeBacking::default());
        assert_eq!(arena.resident_pages(0, 2048).unwrap(), 0, "A4");
    }
    let arena = Arena::new(2048, &options(HugePages::WhenWhole)).unwrap();
    if !has_huge_pages(&arena) {
        return; // the host has none, or does not know the advice
    }
    assert_eq!(
        arena.resident_pages(0, 2048).unwrap(),
        512,
        "and its neighbours none"
    );
    assert_reads_as_zeros(&arena, 0..512);
    // SAFETY: the test owns every frame.
    assert_eq!(unsafe { arena.back_hugely(512 + 8, 512) }, 0, "not aligned");
    // SAFETY: as above.
    assert_eq!(unsafe { arena.back_hugely(1024, 256) }, 0, "not whole");
    assert_eq!(arena.resident_pages(512, 1536).unwrap(), 0);
}

#[test]
#[cfg_attr(pagepool_tsan, ignore = "the sanitizer locks no memory")]
fn locked_pages_are_resident_and_cannot_be_given_back() {
    if !is_mapped() {
        return;
    }
    let options = ArenaOptions {
        locked: Some(4..8),
        ..ArenaOptions::default()
    };
    match Arena::new(1024, &options) {
        Ok(arena) => {
            assert_eq!(arena.resident_pages(4, 4).unwrap(), 4);
            let refused = give_back(&arena, 4, 4).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
            give_back(&arena, 0, 4).unwrap();
        }
        // A limit of nothing.
        Err(BuildError::Place { source, .. }) => {
            let errno = source.raw_os_error().unwrap();
            assert!([libc::EPERM, libc::ENOMEM].contains(&errno), "{source}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
#[should_panic(expected = "A1: pages 12+5 of 16")]
fn pages_beyond_the_last_are_refused() {
    let _ = give_back(&arena(16), 12, 5);
}

#[test]
fn poison_holds_until_somebody_writes() {
    for source in SOURCES {
        let arena = Arena::new(16, &on(source)).unwrap();
        assert_eq!(
            check_poison(&arena, 0, 16),
            Ok(()),
            "pages never touched are zero"
        );

        poison(&arena, 2, 4);
        assert_eq!(
            check_poison(&arena, 0, 16),
            Ok(()),
            "each page counts by itself"
        );
        give_back(&arena, 3, 1).unwrap();
        assert_eq!(
            check_poison(&arena, 2, 4),
            Ok(()),
            "a page given back is zero"
        );
    }
}

#[test]
fn write_to_a_poisoned_page_is_found_to_the_byte() {
    let arena = arena(16);
    for offset in [0, 1, 7, 8, 100, PAGE_SIZE - 1] {
        for byte in [0x00, 0xff, 0xa4] {
            poison(&arena, 4, 4);
            write(&arena, 6, offset, byte);
            assert_eq!(
                check_poison(&arena, 4, 4),
                Err(2 * PAGE_SIZE + offset),
                "{byte:x}"
            );
            assert_eq!(check_poison(&arena, 4, 2), Ok(()));
        }
    }
}

#[test]
fn write_to_a_page_given_back_is_found_to_the_byte() {
    let arena = arena(16);
    for offset in [0, 5, 4000] {
        give_back(&arena, 0, 16).unwrap();
        write(&arena, 1, offset, 0xa5);
        assert_eq!(check_poison(&arena, 0, 16), Err(PAGE_SIZE + offset));
    }
}

#[test]
fn page_full_of_something_else_is_not_poison() {
    let arena = arena(1);
    fill(&arena, 0x11);
    assert_eq!(check_poison(&arena, 0, 1), Err(0));
}

#[test]
#[cfg(pagepool_asan)]
fn free_pages_stay_poisoned_when_they_are_given_back() {
    let arena = arena(16);
    let is_poisoned = |index| asan::is_poisoned(arena.ptr(index), PAGE_SIZE);
    arena.asan_poison(4, 2);
    give_back(&arena, 4, 1).unwrap();
    give_back(&arena, 8, 1).unwrap();
    assert_eq!(
        [3, 4, 5, 6, 8].map(is_poisoned),
        [false, true, true, false, false]
    );

    arena.asan_unpoison(4, 2);
    assert_eq!([4, 5].map(is_poisoned), [false, false]);
}

#[test]
#[cfg(pagepool_asan)]
fn a_copy_is_only_made_between_pages_that_are_in_use() {
    let arena = arena(4);
    let copy = |from, to| {
        // SAFETY: nobody else has this arena.
        let copy = || unsafe { arena.copy_racing_to(from, to, 8, PAGE_SIZE - 8) };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(copy))
    };
    arena.asan_poison(2, 1);
    assert!(copy(0, 1).is_ok());
    assert!(copy(2, 1).is_err());
    assert!(copy(0, 2).is_err());
}

#[test]
fn arena_is_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<Arena>();
    assert_shared::<ZeroedTable<AtomicU8>>();
}

#[test]
fn tables_are_zero_and_writable_at_any_size() {
    for len in [0, 1, 511, 512, 513, 100_000] {
        let mut table = ZeroedTable::<u64>::new(len, "a table").unwrap();
        assert_eq!(table.len(), len);
        assert!(table.iter().all(|element| *element == 0));
        assert!(table.bytes() >= len * 8 && table.bytes() < len * 8 + PAGE_SIZE);
        if let Some(last) = table.last_mut() {
            *last = 5;
            assert_eq!(table[len - 1], 5);
        }
    }
    let pairs = ZeroedTable::<[AtomicU8; 2]>::new(10_000, "pairs").unwrap();
    pairs[9_999][1].store(3, Relaxed);
    assert_eq!(pairs[9_999][1].load(Relaxed), 3);
}

#[test]
fn host_of_two_nodes_is_read_from_its_directory() {
    let dir = TempDir::new("two-nodes");
    dir.file("node/online", "0,2\n");
    dir.file("node/node2/cpulist", "4-7\n");
    dir.file("node/node2/distance", "21 10\n");
    dir.file("node/node0/cpulist", "0-3,8\n");
    dir.file("node/node0/distance", "10 21\n");

    let topology = Topology::read(&dir.0.join("node"));
    let node = |id, cpus: &[usize], distances: &[u8]| topology::HostNode {
        id,
        cpus: cpus.to_vec(),
        distances: distances.to_vec(),
    };
    assert_eq!(
        topology.nodes,
        [
            node(0, &[0, 1, 2, 3, 8], &[10, 21]),
            node(2, &[4, 5, 6, 7], &[21, 10])
        ]
    );
}

#[test]
fn of_a_host_with_a_single_node_only_its_number_is_read() {
    let dir = TempDir::new("one-node");
    dir.file("node/online", "3\n");
    dir.file("node/node3/cpulist", "0\n");
    dir.file("node/node3/distance", "99\n");
    let topology = Topology::read(&dir.0.join("node"));
    let [node] = &topology.nodes[..] else {
        panic!("{topology:?}");
    };
    let all: Vec<_> = (0..crate::sync::cpu::possible()).collect();
    assert_eq!(
        (node.id, &node.cpus, &node.distances[..]),
        (3, &all, &[10][..])
    );

    // What cannot be understood is no single node: then its directories say.
    dir.file("node/online", "three\n");
    let topology = Topology::read(&dir.0.join("node"));
    assert_eq!(
        (topology.nodes[0].id, &topology.nodes[0].cpus[..]),
        (3, &[0][..])
    );
}

#[test]
fn host_that_says_nothing_is_one_node_with_every_cpu() {
    let dir = TempDir::new("no-nodes");
    let silent = Topology::read(&dir.0.join("node"));
    assert_eq!(silent.nodes.len(), 1);
    assert!(!silent.nodes[0].cpus.is_empty(), "{silent:?}");

    dir.file("cpu/online", "0-5\n");
    let topology = Topology::read(&dir.0.join("node"));
    assert_eq!(topology.nodes[0].cpus, [0, 1, 2, 3, 4, 5]);
    assert_eq!(topology.nodes[0].distances, [10]);
}

#[test]
fn nodes_with_unreadable_files_have_no_cpus_and_no_distances() {
    let dir = TempDir::new("junk");
    dir.file("node/node0/cpulist", "zero\n");
    dir.file("node/node0/distance", "10 far\n");
    dir.file("node/node1/cpulist", "\n");
    dir.file("node/nodes/cpulist", "0\n");

    let topology = Topology::read(&dir.0.join("node"));
    assert_eq!(topology.nodes.len(), 2);
    for node in &topology.nodes {
        assert!(
            node.cpus.is_empty() && node.distances.is_empty(),
            "{node:?}"
        );
    }
}

/// A directory that is removed on drop.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = env::temp_dir().join(format!("pagepool-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    fn file(&self, path: &str, contents: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
