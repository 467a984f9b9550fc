//! Which CPUs the process may use, and keeping a thread on one of them.

use std::io;
use std::mem;

use crate::Failure;

/// Returns the CPUs the calling thread may run on, in rising order.
pub(crate) fn allowed_cpus() -> Result<Vec<usize>, Failure> {
    // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is a live set of the size stated; 0 is the calling thread.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if status != 0 {
        return Err(failed("learn the CPUs it may use"));
    }
    let is_allowed = |&cpu: &usize| {
        // SAFETY: `cpu` is below the number of bits in the set.
        unsafe { libc::CPU_ISSET(cpu, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect())
}

/// Keeps the calling thread on `cpu`, one of [`allowed_cpus`].
pub(crate) fn pin_to(cpu: usize) -> Result<(), Failure> {
    pin_to_any(&[cpu])
}

/// Lets the calling thread, and those that it starts, run on `cpus`, some of [`allowed_cpus`].
pub(crate) fn pin_to_any(cpus: &[usize]) -> Result<(), Failure> {
    // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `cpu` came out of such a set, so it is below the number of its bits.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is a live set of the size stated; 0 is the calling thread.
    let status = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if status != 0 {
        return Err(failed(&format!("stay on the CPUs {cpus:?}")));
    }
    Ok(())
}

fn failed(what: &str) -> Failure {
    Failure::broken(format!("cannot {what}: {}", io::Error::last_os_error()))
}
