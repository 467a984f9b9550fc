//! A shrinker that has a given number of objects and frees whatever it is asked for.

use std::fmt;
use std::sync::Arc;

use crate::backing::PoolTag;
use crate::reclaim::shrinkers::{
    Errand, Freeable, Scanned, ShrinkControl, Shrinker, ShrinkerHandle, ShrinkerOptions, Shrinkers,
    Stop,
};
use crate::sync::{atomic, thread};
use crate::types::{GroupId, NodeId};

/// Objects that are only counted.
#[derive(Debug)]
struct Objects(atomic::AtomicUsize);

impl Shrinker for Objects {
    fn count(&self, _: &ShrinkControl) -> Freeable {
        match self.0.load(atomic::Ordering::Relaxed) {
            0 => Freeable::Empty,
            objects => Freeable::Count(objects),
        }
    }

    fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        let nr = nr.min(self.0.load(atomic::Ordering::Relaxed));
        if nr == 0 {
            return Err(Stop);
        }
        self.0.fetch_sub(nr, atomic::Ordering::Relaxed);
        Ok(Scanned {
            freed: nr,
            scanned: nr,
        })
    }
}

/// A pool's table with one shrinker in it.
pub struct Shrinking {
    shrinkers: Shrinkers,
    objects: Arc<Objects>,
    handle: Option<ShrinkerHandle>,
    sleeps: Sleeps,
}

/// How often the worker slept until it was called, and who asked until it was answered.
type Sleeps = Box<dyn Fn() -> [u32; 2] + Send + Sync>;

impl fmt::Debug for Shrinking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shrinking").field(&self.shrinkers).finish()
    }
}

impl Shrinking {
    /// Returns a table with a shrinker of so many objects, that has no worker yet. One at a time is looked at.
    #[must_use]
    pub fn new(objects: usize) -> Shrinking {
        let objects = Arc::new(Objects(atomic::AtomicUsize::new(objects)));
        let shrinkers = Shrinkers::new(1, 1, 0, PoolTag::of(&*objects), thread::spawn);
        let options = ShrinkerOptions::new("objects").batch(1);
        let handle = shrinkers
            .register(options, Arc::clone(&objects) as _)
            .expect("there is a place");
        Shrinking {
            shrinkers,
            objects,
            sleeps: Box::new(handle.sleeps()),
            handle: Some(handle),
        }
    }

    /// Has the shrinker free all it has, however long that takes; returns how many objects that were.
    #[must_use]
    pub fn shrink(&self) -> usize {
        let takings = self.shrinkers.shrink(Errand {
            node: NodeId::at(0),
            group: GroupId::ROOT,
            priority: 0,
            pressure: 100,
            deadline: None,
        });
        takings.freed
    }

    /// Takes the shrinker out of service; returns how many objects it still has.
    pub fn take_out(&mut self) -> usize {
        drop(self.handle.take());
        self.objects.0.load(atomic::Ordering::Relaxed)
    }

    /// The shrinker's handle.
    pub fn take_handle(&mut self) -> Option<impl Drop + Send + use<>> {
        self.handle.take()
    }

    /// How often the worker slept until it was called, or was to end, and how often somebody who asked, or took
    /// the shrinker out of service, slept until it had answered or ended.
    #[must_use]
    pub fn nr_sleeps(&self) -> [u32; 2] {
        (self.sleeps)()
    }

    /// Checks what is known of the shrinker.
    ///
    /// # Panics
    /// If that does not agree.
    pub fn verify(&self) {
        self.shrinkers.verify().expect("nothing was lost");
    }
}
