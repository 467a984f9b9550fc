//! Folios in many hands, and folios against a plain model: a vector of bytes each.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AccessError, Advice, Faults, FaultyDevice, FileBacking, Folio, Gfp, Mapping, Order, PAGE_SIZE,
    PagePool, SharedFolio, SwapFile,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{StopOnDrop, assert_all_back, assert_filled, fill, order, vmstat};

const RUN: Duration = Duration::from_secs(2);

/// Numbers that look random, from a seed that is printed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ x >> 27) % n
    }
}

/// A folio of one thread, and the version of its contents; 0 are zeros.
struct Own {
    folio: Folio,
    version: u64,
    locked: bool,
}

impl Own {
    #[track_caller]
    fn assert_is(&self, bytes: &[u8]) {
        if self.version == 0 {
            assert!(bytes.iter().all(|byte| *byte == 0), "not zeros");
        } else {
            assert_filled(bytes, self.version);
        }
    }
}

/// What all threads share.
struct Common {
    pool: PagePool,
    mapping: Mapping,
    /// Folios whose words are all the version that was written last.
    shared: Vec<SharedFolio>,
    /// Pages of the mapping that were given away.
    next_page: AtomicU64,
    is_over: AtomicBool,
}

#[test]
fn stress_of_folios_loses_nothing() {
    let seed = 0xf0110;
    println!("seed {seed:#x}");
    let path = std::env::temp_dir().join(format!("pagepool-threads-{}", std::process::id()));
    let pool = PagePool::builder()
        .managed(4 << 20)
        .hardened(true)
        .swap(SwapFile::temporary(64 << 20).unwrap())
        .max_stores(2)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    let mapping = pool
        .map_backing(FileBacking::create(&path).unwrap())
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let shared = (0..8)
        .map(|n| {
            let len = PAGE_SIZE << (n % 3);
            pool.blank_folio(len).unwrap().into_shared()
        })
        .collect();
    let common = Common {
        pool: pool.clone(),
        mapping,
        shared,
        next_page: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let stop = StopOnDrop(&common.is_over);
        let workers = [0, 1, 2, 3, 4, 5].map(|n| {
            let common = &common;
            scope.spawn(move || {
                let _stop = StopOnDrop(&common.is_over);
                work(common, n, Rng(seed + n));
            })
        });
        let start = Instant::now();
        // On a busy machine it takes longer until there is something to see.
        let is_idle = || vmstat(&pool, "pswpin") <= 100 && start.elapsed() < 10 * RUN;
        while (start.elapsed() < RUN || is_idle()) && !common.is_over.load(SeqCst) {
            thread::sleep(Duration::from_millis(10));
            pool.trim();
            pool.drain();
        }
        drop(stop);
        // One by one: what orders the end of a scope after theirs is no code that a sanitizer sees.
        for worker in workers {
            worker.join().unwrap();
        }
    });
    pool.verify().unwrap();
    assert!(vmstat(&pool, "pswpin") > 100);
    assert_eq!(vmstat(&pool, "pagepool_lost_writes"), 0);
    drop(common);
    assert_all_back(&pool);
    pool.close(Duration::ZERO).unwrap();
}

/// What one thread does until all are told to end.
fn work(common: &Common, thread: u64, mut rng: Rng) {
    let mut own: Vec<Own> = vec![];
    let mut version = thread << 24;
    while !common.is_over.load(SeqCst) {
        let is_full = own.len() >= 200;
        match rng.below(16) {
            0..=2 if !is_full => own.push(make(common, &mut rng)),
            0..=3 if !own.is_empty() => {
                let at = rng.below(own.len() as u64) as usize;
                let gone = own.swap_remove(at);
                gone.assert_is(&gone.folio.read().unwrap());
            }
            4 => use_shared(common, &mut rng, version),
            _ if own.is_empty() => {}
            what => {
                version += 1;
                let at = rng.below(own.len() as u64) as usize;
                use_own(&mut own[at], what, version, &mut rng);
            }
        }
    }
    for one in &own {
        one.assert_is(&one.folio.read().unwrap());
    }
}

fn make(common: &Common, rng: &mut Rng) -> Own {
    let order = order([0, 0, 0, 1, 2, 3][rng.below(6) as usize]);
    let folio = match rng.below(4) {
        0 => {
            let span = Order::MAX.pages() as u64;
            let page = common.next_page.fetch_add(1, SeqCst) * 8 % (span << 10);
            common.mapping.folio(page, order).unwrap()
        }
        1 => common.pool.blank_folio(order.bytes()).unwrap(),
        _ => {
            let gfp = Gfp::USER_MOVABLE | Gfp::RETRY_MAYFAIL;
            let folio = common.pool.alloc_folio(order.bytes(), gfp);
            // Memory may be in pieces at the moment.
            folio.unwrap_or_else(|_| common.pool.blank_folio(PAGE_SIZE).unwrap())
        }
    };
    Own {
        folio,
        version: 0,
        locked: false,
    }
}

/// One access to a folio of this thread.
fn use_own(one: &mut Own, what: u64, version: u64, rng: &mut Rng) {
    match what {
        5..=8 => {
            fill(&mut one.folio.write().unwrap(), version);
            one.version = version;
        }
        9 | 10 => one.assert_is(&one.folio.read().unwrap()),
        11 => {
            let mut bytes = vec![0; one.folio.len()];
            one.folio.read_at(0, &mut bytes).unwrap();
            one.assert_is(&bytes);
        }
        12 => {
            one.folio.discard().unwrap();
            one.version = 0;
        }
        13 => one.folio.advise(Advice::Cold).unwrap(),
        14 if one.locked || rng.below(8) > 0 => {
            one.folio.unlock();
            one.locked = false;
        }
        14 => {
            one.folio.lock().unwrap();
            one.locked = true;
        }
        _ => {
            let pin = one.folio.pin().unwrap();
            let address = pin.as_ptr();
            let bytes = one.folio.read().unwrap();
            assert_eq!(bytes.as_ptr(), address.cast_const());
            one.assert_is(&bytes);
        }
    }
}

/// One access to a folio of all: its words are the same, whoever wrote them.
fn use_shared(common: &Common, rng: &mut Rng, version: u64) {
    let shared = common.shared[rng.below(common.shared.len() as u64) as usize].clone();
    let assert_whole = |bytes: &[u8]| {
        let mut words = bytes.chunks_exact(8);
        let first = words.next().unwrap();
        assert!(words.all(|word| word == first), "half a write");
    };
    match rng.below(3) {
        0 => {
            let mut bytes = shared.write().unwrap();
            assert_whole(&bytes);
            for word in bytes.chunks_exact_mut(8) {
                word.copy_from_slice(&version.to_ne_bytes());
            }
        }
        1 => assert_whole(&shared.read().unwrap()),
        _ => {
            let mut bytes = vec![0; shared.len()];
            shared.read_at(0, &mut bytes).unwrap();
            assert_whole(&bytes);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc { len: usize },
    Blank { len: usize },
    Map { order: u8 },
    Drop(Index),
    Write { which: Index, at: Index, byte: u8 },
    Fill { which: Index, byte: u8 },
    Read(Index),
    ReadAt { which: Index, at: Index },
    TryRead(Index),
    Discard(Index),
    Flush(Index),
    Cold(Index),
    Lock(Index),
    Unlock(Index),
    Share(Index),
    Press { pages: usize },
    Trim,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![4 => 1..3 * PAGE_SIZE, 1 => 1..20 * PAGE_SIZE];
    let which = any::<Index>;
    prop_oneof![
        8 => len().prop_map(|len| Op::Alloc { len }),
        2 => len().prop_map(|len| Op::Blank { len }),
        3 => (0..4u8).prop_map(|order| Op::Map { order }),
        5 => which().prop_map(Op::Drop),
        6 => (which(), which(), any::<u8>())
            .prop_map(|(which, at, byte)| Op::Write { which, at, byte }),
        4 => (which(), any::<u8>()).prop_map(|(which, byte)| Op::Fill { which, byte }),
        4 => which().prop_map(Op::Read),
        3 => (which(), which()).prop_map(|(which, at)| Op::ReadAt { which, at }),
        1 => which().prop_map(Op::TryRead),
        2 => which().prop_map(Op::Discard),
        2 => which().prop_map(Op::Flush),
        3 => which().prop_map(Op::Cold),
        1 => which().prop_map(Op::Lock),
        2 => which().prop_map(Op::Unlock),
        1 => which().prop_map(Op::Share),
        4 => (0..300usize).prop_map(|pages| Op::Press { pages }),
        1 => Just(Op::Trim),
    ]
}

/// Folios, and what is in them.
struct Model {
    pool: PagePool,
    mapping: Mapping,
    next_page: u64,
    live: Vec<(Folio, Vec<u8>)>,
}

impl Model {
    fn new() -> Model {
        // 256 pages of memory, so that little is much.
        let pool = PagePool::builder()
            .managed(1 << 20)
            .daemons(false)
            .swap(FaultyDevice::in_memory(2 << 20, Faults::none()))
            .max_stores(2)
            .hardened(true)
            .deadline(Duration::from_millis(200))
            .build()
            .unwrap();
        let shelf = FaultyDevice::in_memory(4 << 20, Faults::none());
        Model {
            mapping: pool.map_backing(shelf).unwrap(),
            pool,
            next_page: 0,
            live: vec![],
        }
    }

    fn pick(&mut self, which: Index) -> Option<&mut (Folio, Vec<u8>)> {
        let at = (!self.live.is_empty()).then(|| which.index(self.live.len()))?;
        Some(&mut self.live[at])
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Alloc { len } => {
                let gfp = Gfp::USER_MOVABLE | Gfp::NORETRY;
                if let Ok(folio) = self.pool.alloc_folio(len, gfp) {
                    assert!(folio.is_resident());
                    self.live.push((folio, vec![0; len]));
                }
            }
            Op::Blank { len } => {
                let folio = self.pool.blank_folio(len).unwrap();
                self.live.push((folio, vec![0; len]));
            }
            Op::Map { order: n } => {
                // A range of its own each.
                let folio = self.mapping.folio(self.next_page, order(n)).unwrap();
                self.next_page += 8;
                self.live.push((folio, vec![0; order(n).bytes()]));
            }
            Op::Drop(which) => {
                if !self.live.is_empty() {
                    let at = which.index(self.live.len());
                    drop(self.live.swap_remove(at));
                }
            }
            Op::Trim => drop(self.pool.trim()),
            Op::Press { pages } => {
                let gfp = Gfp::KERNEL | Gfp::NORETRY;
                let block = || self.pool.alloc_pages(Order::ZERO, gfp).ok();
                let blocks: Vec<_> = std::iter::from_fn(block).take(pages).collect();
                drop(blocks);
            }
            Op::Share(which) => {
                if !self.live.is_empty() {
                    let at = which.index(self.live.len());
                    let (folio, bytes) = self.live.swap_remove(at);
                    let shared = folio.into_shared();
                    let other = shared.clone();
                    if had(other.read().map(|read| assert!(*read == bytes[..]))) {
                        assert!(shared.is_resident());
                    }
                    drop(other);
                    self.live.push((shared.into_owned().unwrap(), bytes));
                }
            }
            Op::Write { which, .. }
            | Op::Fill { which, .. }
            | Op::ReadAt { which, .. }
            | Op::Read(which)
            | Op::TryRead(which)
            | Op::Discard(which)
            | Op::Flush(which)
            | Op::Cold(which)
            | Op::Lock(which)
            | Op::Unlock(which) => {
                if let Some((folio, bytes)) = self.pick(which) {
                    use_one(folio, bytes, op);
                }
            }
        }
    }

    fn check(&self, op: &Op) {
        self.pool
            .verify()
            .unwrap_or_else(|violation| panic!("after {op:?}: {violation}"));
        assert_eq!(self.pool.stats().folios, self.live.len(), "{op:?}");
    }
}

/// Whether an access was had. Memory may be short, of the size or with all that is locked, and on a busy
/// machine the device's threads may be late; nothing else may be in the way.
#[track_caller]
fn had(access: Result<(), AccessError>) -> bool {
    match access {
        Ok(()) => true,
        Err(AccessError::Alloc(_) | AccessError::StoreStalled | AccessError::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

fn use_one(folio: &mut Folio, bytes: &mut [u8], op: &Op) {
    let short = Duration::from_millis(50);
    match op {
        Op::Write { at, byte, .. } => {
            let at = at.index(bytes.len());
            if had(folio.write_within(short).map(|mut write| write[at] = *byte)) {
                bytes[at] = *byte;
            }
        }
        Op::Fill { byte, .. } => {
            if had(folio.write_within(short).map(|mut write| write.fill(*byte))) {
                bytes.fill(*byte);
            }
        }
        Op::ReadAt { at, .. } => {
            let at = at.index(bytes.len());
            let mut copy = vec![0; bytes.len() - at];
            if folio.read_optimistic(at, &mut copy) {
                assert!(copy == bytes[at..]);
                assert!(folio.is_resident());
            }
        }
        Op::TryRead(_) => match folio.try_read() {
            Ok(read) => assert!(*read == *bytes),
            Err(error) => {
                assert_eq!(error, AccessError::WouldBlock);
                assert!(!folio.is_resident());
            }
        },
        Op::Discard(_) => {
            if had(folio.discard()) {
                bytes.fill(0);
            }
        }
        Op::Flush(_) => {
            folio.flush().unwrap();
        }
        Op::Cold(_) => folio.advise(Advice::Cold).unwrap(),
        Op::Lock(_) => {
            // Few, so that some memory can leave.
            if bytes.len() <= PAGE_SIZE && had(folio.lock()) {
                assert!(folio.is_resident());
            }
        }
        Op::Unlock(_) => folio.unlock(),
        _ => {
            had(folio
                .read_within(short)
                .map(|read| assert!(*read == *bytes)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn folios_follow_their_model(ops in prop::collection::vec(op(), 1..120)) {
        let mut model = Model::new();
        for op in &ops {
            model.step(op);
            model.check(op);
        }
        let Model { pool, live, .. } = model;
        for (n, (folio, bytes)) in live.iter().enumerate() {
            folio.unlock();
            had(folio.read().map(|read| assert!(*read == **bytes, "folio {n}")));
        }
        drop(live);
        assert_all_back(&pool);
    }
}
