//! A device that fails as it is told to.

use std::io;
use std::time::Duration;

use super::SwapDevice;
use crate::backing::{Backing, BackingError, WriteOut};
use crate::sync::lock::Condvar;
use crate::sync::rng::Rng;
use crate::sync::{Mutex, thread};
use crate::types::PAGE_SIZE;

/// How a device can fail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A read fails for good.
    ReadError,
    /// A read fails, and may succeed when it is tried again.
    TransientReadError,
    /// A read brings bytes of which one was changed, and says nothing.
    CorruptRead,
    /// A read does not return until the device is [released](FaultyDevice::release), or the stall's
    /// [time](Faults::stall_for) is over. Then it is done.
    StalledRead,
    /// A write fails for good, with nothing written.
    WriteError,
    /// A write fails with nothing written, and may succeed when it is tried again.
    TransientWriteError,
    /// Half of the bytes are written, and the device says so.
    ShortWrite,
    /// Half of the bytes are written, and the device says that it failed.
    TornWrite,
    /// Half of the bytes are written, and the device says that all were.
    SilentTornWrite,
    /// Nothing is written, since there is no room.
    Full,
    /// A write does not return until the device is released, or the stall's time is over. Then it is
    /// done.
    StalledWrite,
}

impl Fault {
    const ALL: [Fault; 11] = [
        Fault::ReadError,
        Fault::TransientReadError,
        Fault::CorruptRead,
        Fault::StalledRead,
        Fault::WriteError,
        Fault::TransientWriteError,
        Fault::ShortWrite,
        Fault::TornWrite,
        Fault::SilentTornWrite,
        Fault::Full,
        Fault::StalledWrite,
    ];

    fn is_of_reads(self) -> bool {
        use Fault::{CorruptRead, ReadError, StalledRead, TransientReadError};
        matches!(
            self,
            ReadError | TransientReadError | CorruptRead | StalledRead
        )
    }
}

/// When a fault happens.
#[derive(Clone, Copy, Debug)]
enum When {
    /// At one call in so many, by chance.
    OneIn(u64),
    /// At the call of this number, counting from 1 those of its direction since the plan was set.
    Nth(u64),
}

/// A plan of faults, the same each time it is run with the same calls.
///
/// ```
/// use pagepool::{Fault, Faults};
///
/// let faults = Faults::seeded(7)
///     .one_in(100, Fault::TransientWriteError)
///     .nth(5, Fault::CorruptRead);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a plan does nothing by itself"]
pub struct Faults {
    seed: u64,
    rules: Vec<(When, Fault)>,
    stall_for: Option<Duration>,
}

impl Faults {
    /// No faults. The device works.
    pub fn none() -> Faults {
        Faults::seeded(0)
    }

    /// No faults yet; those that happen by chance are chosen by `seed`.
    pub fn seeded(seed: u64) -> Faults {
        Faults {
            seed,
            rules: vec![],
            stall_for: None,
        }
    }

    /// Lets a fault happen at one call in `n`, by chance; with 1, at every call.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn one_in(mut self, n: u64, fault: Fault) -> Faults {
        assert!(n > 0, "one call in 0 is none");
        self.rules.push((When::OneIn(n), fault));
        self
    }

    /// Lets a fault happen at the `n`-th read or the `n`-th write, whichever it is a fault of, counting
    /// from 1 since the plan was set.
    pub fn nth(mut self, n: u64, fault: Fault) -> Faults {
        self.rules.push((When::Nth(n), fault));
        self
    }

    /// Lets stalls end by themselves after this time.
    pub fn stall_for(mut self, time: Duration) -> Faults {
        self.stall_for = Some(time);
        self
    }
}

#[derive(Debug)]
struct Plan {
    faults: Faults,
    rng: Rng,
    nr_reads: u64,
    nr_writes: u64,
    /// Goes up with each release; a stalled call waits for the next one.
    release: u64,
    nr_stalled: usize,
    happened: [u64; Fault::ALL.len()],
}

impl Plan {
    fn new(faults: Faults) -> Plan {
        Plan {
            rng: Rng::new(faults.seed),
            faults,
            nr_reads: 0,
            nr_writes: 0,
            release: 0,
            nr_stalled: 0,
            happened: [0; Fault::ALL.len()],
        }
    }

    /// Counts a call and says what is to go wrong in it: the first fault of the plan that is due.
    fn next(&mut self, is_read: bool) -> Option<Fault> {
        let nr = if is_read {
            &mut self.nr_reads
        } else {
            &mut self.nr_writes
        };
        *nr += 1;
        let nr = *nr;
        let rng = &mut self.rng;
        let due = |when: When| match when {
            When::OneIn(n) => rng.below(n) == 0,
            When::Nth(n) => nr == n,
        };
        let mut rules = self.faults.rules.iter();
        let mut due = due;
        let (_, fault) =
            rules.find(|(when, fault)| fault.is_of_reads() == is_read && due(*when))?;
        self.happened[*fault as usize] += 1;
        Some(*fault)
    }
}

/// A swap device, or a [store](Backing), for tests: another device, or memory, that fails as a [plan](Faults) says.
///
/// What people who build on the pool need in order to see what their program does when a disk fails.
/// Keep a second reference to it (an `Arc` of a device is a device), and change the plan while the pool
/// runs.
pub struct FaultyDevice {
    name: String,
    inner: Box<dyn SwapDevice>,
    plan: Mutex<Plan>,
    released: Condvar,
}

impl FaultyDevice {
    /// Wraps a device.
    pub fn new(inner: impl SwapDevice, faults: Faults) -> FaultyDevice {
        FaultyDevice {
            name: format!("{} (faulty)", inner.name()),
            inner: Box::new(inner),
            plan: Mutex::new(Plan::new(faults)),
            released: Condvar::new(),
        }
    }

    /// Makes a device of `bytes` of memory, which come from the heap and not from the pool.
    #[must_use]
    pub fn in_memory(bytes: usize, faults: Faults) -> FaultyDevice {
        FaultyDevice::new(Memory(Mutex::new(vec![0; bytes])), faults)
    }

    /// Replaces the plan; counts begin anew. Calls that are stalled are released.
    pub fn set_faults(&self, faults: Faults) {
        let mut plan = self.plan.lock();
        let (release, nr_stalled) = (plan.release + 1, plan.nr_stalled);
        *plan = Plan {
            release,
            nr_stalled,
            ..Plan::new(faults)
        };
        drop(plan);
        self.released.notify_all();
    }

    /// Lets all calls go on that are stalled.
    pub fn release(&self) {
        self.plan.lock().release += 1;
        self.released.notify_all();
    }

    /// How often a fault happened since the plan was set.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.plan.lock().happened[fault as usize]
    }

    /// How many calls are stalled.
    #[must_use]
    pub fn nr_stalled(&self) -> usize {
        self.plan.lock().nr_stalled
    }

    fn stall(&self) {
        let mut plan = self.plan.lock();
        plan.nr_stalled += 1;
        if let Some(time) = plan.faults.stall_for {
            drop(plan);
            thread::sleep(time);
            plan = self.plan.lock();
        } else {
            let release = plan.release;
            while plan.release == release {
                self.released.wait(&mut plan);
            }
        }
        plan.nr_stalled -= 1;
    }
}

impl std::fmt::Debug for FaultyDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyDevice")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SwapDevice for FaultyDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn capacity(&self) -> u64 {
        self.inner.capacity()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let fault = self.plan.lock().next(true);
        match fault {
            Some(Fault::ReadError) => return Err(failure("reading")),
            Some(Fault::TransientReadError) => return Err(io::ErrorKind::Interrupted.into()),
            Some(Fault::StalledRead) => self.stall(),
            _ => {}
        }
        let nr = self.inner.read_at(bytes, offset)?;
        if fault == Some(Fault::CorruptRead)
            && let Some(byte) = bytes.get_mut(nr / 2)
        {
            *byte ^= 0x10;
        }
        Ok(nr)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let fault = self.plan.lock().next(false);
        let half = &bytes[..bytes.len() / 2];
        match fault {
            Some(Fault::WriteError) => Err(failure("writing")),
            Some(Fault::TransientWriteError) => Err(io::ErrorKind::Interrupted.into()),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::ShortWrite) => self.inner.write_at(half, offset),
            Some(Fault::TornWrite) => {
                self.inner.write_at(half, offset)?;
                Err(failure("writing, half-way"))
            }
            Some(Fault::SilentTornWrite) => {
                self.inner.write_at(half, offset)?;
                Ok(bytes.len())
            }
            Some(Fault::StalledWrite) => {
                self.stall();
                self.inner.write_at(bytes, offset)
            }
            _ => self.inner.write_at(bytes, offset),
        }
    }
}

/// The device as the store of a [mapping](crate::Mapping). What fails in silence, nobody notices: a mapping has no
/// checksums.
impl Backing for FaultyDevice {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        match self.read_at(bytes, page * PAGE_SIZE as u64)? {
            nr if nr < bytes.len() => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        match self.write_at(bytes, page * PAGE_SIZE as u64) {
            Ok(nr) if nr < bytes.len() => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(_) => Ok(WriteOut::Written),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(BackingError::Full),
            Err(error) => Err(error.into()),
        }
    }
}

fn failure(what: &str) -> io::Error {
    io::Error::other(format!("{what} was told to fail"))
}

/// Memory as a device.
struct Memory(Mutex<Vec<u8>>);

impl SwapDevice for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capacity(&self) -> u64 {
        self.0.lock().len() as u64
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let memory = self.0.lock();
        let rest = memory.get(offset as usize..).unwrap_or(&[]);
        let nr = rest.len().min(bytes.len());
        bytes[..nr].copy_from_slice(&rest[..nr]);
        Ok(nr)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut memory = self.0.lock();
        let rest = memory.get_mut(offset as usize..).unwrap_or(&mut []);
        let nr = rest.len().min(bytes.len());
        rest[..nr].copy_from_slice(&bytes[..nr]);
        Ok(nr)
    }
}
