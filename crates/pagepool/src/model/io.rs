//! A store on a device that does nothing but note what it is told.

use std::sync::Arc;

use crate::backing::{
    Backing, BackingError, Direction, Outcome, PoolTag, Store, StoreId, StoreSpec, WriteOut,
    WriteWatch,
};
use crate::sync::{atomic, thread};

/// Notes whether a write is under way in an [`Io`], and ends every transfer at once.
#[derive(Debug, Default)]
struct Device {
    nr_writing: atomic::AtomicUsize,
    nr_ended: atomic::AtomicUsize,
}

impl Backing for Device {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        Ok(())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        let nr_writing = self.nr_writing.load(atomic::Ordering::Relaxed);
        assert!(nr_writing > 0, "B4: a write that nobody was told of");
        Ok(WriteOut::Written)
    }
}

impl WriteWatch for Device {
    fn write_begins(&self, _page: u64, _nr: usize) {
        self.nr_writing.fetch_add(1, atomic::Ordering::Relaxed);
    }

    fn write_ends(&self, _page: u64, _nr: usize) {
        self.nr_writing.fetch_sub(1, atomic::Ordering::Relaxed);
        self.nr_ended.fetch_add(1, atomic::Ordering::Relaxed);
    }
}

/// A store with its worker threads.
#[derive(Debug)]
pub struct Io {
    store: Store,
    device: Arc<Device>,
}

impl Io {
    /// Returns a store that has not started a worker.
    #[expect(
        clippy::new_without_default,
        reason = "it allocates, and a default does not"
    )]
    pub fn new() -> Io {
        let device = Arc::new(Device::default());
        let store = Store::new(StoreSpec {
            id: StoreId::all().next().expect("there are numbers"),
            pool: PoolTag::of(&*device),
            backing: Arc::clone(&device) as _,
            in_file: None,
            watch: Some(Arc::clone(&device) as _),
            spawn: thread::spawn,
            stuck_after: StoreSpec::STUCK_AFTER,
            max_asks: StoreSpec::ONE_ASK,
        });
        Io {
            store: store.expect("the heap has room"),
            device,
        }
    }

    /// Writes `page` and waits for the end, however long it takes.
    pub fn write(&self, page: u64) {
        let buf = self.store.take_buf(Direction::Write, None).expect("waits");
        let done = self
            .store
            .submit_write(buf, page, 1)
            .wait(None)
            .expect("waits");
        assert_eq!(done.outcome, Outcome::DONE);
    }

    /// Writes a page and waits for nothing.
    pub fn abandon_write(&self) {
        let buf = self.store.take_buf(Direction::Write, None).expect("waits");
        drop(self.store.submit_write(buf, 1, 1));
    }

    /// Takes all buffers that writes may have and gives them back; returns how many.
    pub fn nr_buffers(&self) -> usize {
        let bufs = std::iter::from_fn(|| self.store.try_take_buf(Direction::Write));
        bufs.collect::<Vec<_>>().len()
    }

    /// How often workers have slept until they were called, or were to end, and how often submitters have until
    /// their transfers ended.
    pub fn nr_sleeps(&self) -> [u32; 2] {
        self.store.nr_sleeps()
    }

    /// Ends the workers, and returns how many writes have ended.
    pub fn shut_down(&self) -> usize {
        self.store.shut_down(None).expect("waits");
        self.device.nr_ended.load(atomic::Ordering::Relaxed)
    }
}
