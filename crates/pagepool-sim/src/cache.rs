//! A cache of the program: blocks that it can do without, which the pool has it free when memory is short.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use pagepool::{
    Freeable, GroupId, PagePool, Pages, Scanned, ShrinkControl, Shrinker, ShrinkerHandle,
    ShrinkerOptions, Stop, sim,
};

use crate::shadow::{self, Shadow};

/// How long a call is waited for, and how long it takes now and then.
const DEADLINE: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(30);

/// A block that is cached.
pub(crate) struct Object {
    pub(crate) pages: Pages,
    pub(crate) shadow: Shadow,
    /// Who is charged for it.
    pub(crate) group: GroupId,
}

impl Object {
    fn compare(&self) {
        shadow::compare("a cached block", &self.pages, self.shadow, 0);
    }
}

/// See the head of the module.
pub(crate) struct Cache {
    objects: Arc<Objects>,
    handle: Mutex<Option<ShrinkerHandle>>,
}

/// What is cached, and how it is freed. It cannot hold the handle: the pool keeps it as long as that lives.
struct Objects {
    /// Whether it knows nodes and groups apart.
    is_aware: bool,
    list: Mutex<Vec<Object>>,
    calls: AtomicU64,
    /// Of these, those that take long.
    slow: AtomicU64,
}

impl Cache {
    pub(crate) fn new(is_aware: bool) -> Cache {
        Cache {
            objects: Arc::new(Objects {
                is_aware,
                list: Mutex::default(),
                calls: AtomicU64::new(0),
                slow: AtomicU64::new(0),
            }),
            handle: Mutex::default(),
        }
    }

    /// Has the pool call it from now on, or no more.
    pub(crate) fn register(&self, pool: &PagePool, on: bool) {
        let before = lock(&self.handle).take();
        if on && before.is_none() {
            let objects = Arc::clone(&self.objects);
            let made = pool.register_shrinker(self.objects.options(), objects);
            // One that was dropped in the middle of a call keeps its place until that ends.
            let Ok(handle) = made else { return };
            sim::undisturbed(|| {
                for object in &*lock(&self.objects.list) {
                    handle.note_object(object.group, object.pages.node());
                }
            });
            let beside = lock(&self.handle).replace(handle);
            drop(beside);
        } else if on {
            let beside = std::mem::replace(&mut *lock(&self.handle), before);
            drop(beside);
        } else {
            drop(before);
        }
    }

    pub(crate) fn add(&self, object: Object) {
        let (group, node) = (object.group, object.pages.node());
        lock(&self.objects.list).push(object);
        sim::undisturbed(|| {
            if let Some(handle) = &*lock(&self.handle) {
                handle.note_object(group, node);
            }
        });
    }

    /// Takes an object out, if there is one, and compares it.
    pub(crate) fn take(&self, which: u16) -> Option<Pages> {
        let mut list = lock(&self.objects.list);
        let index = usize::from(which).checked_rem(list.len())?;
        let object = list.swap_remove(index);
        drop(list);
        object.compare();
        Some(object.pages)
    }

    /// Frees half of it; returns whether that was anything.
    pub(crate) fn halve(&self) -> bool {
        let half = lock(&self.objects.list).len().div_ceil(2);
        self.objects.free(half, |_| true) > 0
    }

    /// Frees what a group is charged for.
    pub(crate) fn forget(&self, group: GroupId) {
        self.objects
            .free(usize::MAX, |object| object.group == group);
    }

    /// Panics if a call was not waited for that did not take long.
    pub(crate) fn expect_no_delay(&self) {
        let timeouts = lock(&self.handle)
            .as_ref()
            .map(|handle| handle.stats().timeouts);
        let slow = self.objects.slow.load(Relaxed);
        assert!(
            timeouts.unwrap_or(0) <= slow,
            "{timeouts:?} timeouts, and {slow} calls took long"
        );
    }

    /// Compares everything in it.
    pub(crate) fn compare(&self) {
        lock(&self.objects.list).iter().for_each(Object::compare);
    }
}

impl Objects {
    fn options(&self) -> ShrinkerOptions {
        let name = if self.is_aware { "aware" } else { "plain" };
        let options = ShrinkerOptions::new(name).deadline(DEADLINE).batch(4);
        options.numa_aware(self.is_aware).group_aware(self.is_aware)
    }

    fn is_meant(&self, object: &Object, ctl: &ShrinkControl) -> bool {
        !self.is_aware || object.pages.node() == ctl.node && ctl.group == Some(object.group)
    }

    /// Frees up to `most` objects that it likes, each compared before; returns how many.
    fn free(&self, most: usize, likes: impl Fn(&Object) -> bool) -> usize {
        let mut list = lock(&self.list);
        let next = || {
            let index = list.iter().position(&likes)?;
            Some(list.swap_remove(index))
        };
        let freed: Vec<Object> = iter::from_fn(next).take(most).collect();
        // Others may run while they are freed.
        drop(list);
        freed.iter().for_each(Object::compare);
        freed.len()
    }
}

impl Shrinker for Objects {
    fn count(&self, ctl: &ShrinkControl) -> Freeable {
        let list = lock(&self.list);
        match list
            .iter()
            .filter(|object| self.is_meant(object, ctl))
            .count()
        {
            0 => Freeable::Empty,
            nr => Freeable::Count(nr),
        }
    }

    /// Now and then it has no time, or takes longer than it is waited for.
    fn scan(&self, ctl: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        // Relaxed: the tasks of a simulation share one real thread.
        match self.calls.fetch_add(1, Relaxed) % 16 {
            5 => return Err(Stop),
            11 => {
                self.slow.fetch_add(1, Relaxed);
                sim::pause(SLOW);
            }
            _ => {}
        }
        let freed = self.free(nr, |object| self.is_meant(object, ctl));
        Ok(Scanned {
            freed,
            scanned: freed,
        })
    }
}

/// Never held while anything of the pool is called that others run in: they share one real thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}
