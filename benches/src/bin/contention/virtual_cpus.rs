//! CPUs that the machine does not have: what the C library says of CPUs, said anew for this program.
//!
//! The pool asks how many CPUs there may be and on which a thread is, once when it is opened and now and then. A
//! program's own functions come before those of a shared library, so that it hears the answers from here.

use std::cell::Cell;

use libc::{c_char, c_int, c_long};

use crate::directory::MAX_CPUS;

thread_local! {
    static CPU: Cell<c_int> = const { Cell::new(0) };
}

/// Has the calling thread say from now on that it is on `cpu`.
pub(crate) fn settle_on(cpu: usize) {
    assert!(cpu < MAX_CPUS, "there is no CPU {cpu}");
    CPU.set(cpu as c_int);
}

/// The CPU that the calling thread is said to be on.
// SAFETY: (1) this is how the C library declares it; (2) whoever calls it takes the answer as a hint.
#[unsafe(no_mangle)]
extern "C" fn sched_getcpu() -> c_int {
    CPU.get()
}

/// A setting of the system: it has so many CPUs, and otherwise is what it is.
// SAFETY: (1) this is how the C library declares it; (2) more CPUs than there are do no harm to who only counts
// slots by it.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    if name == libc::_SC_NPROCESSORS_CONF {
        return MAX_CPUS as c_long;
    }
    type Sysconf = extern "C" fn(c_int) -> c_long;
    let symbol: *const c_char = c"sysconf".as_ptr();
    // SAFETY: the name ends in a zero; the call looks for the next library that has such a function.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, symbol) };
    assert!(!address.is_null(), "the C library has it");
    // SAFETY: it is the C library's function of that name, which has this signature.
    let next = unsafe { std::mem::transmute::<*mut libc::c_void, Sysconf>(address) };
    next(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_where_it_is_told_to_be() {
        settle_on(41);
        // SAFETY: the call has no arguments.
        assert_eq!(unsafe { libc::sched_getcpu() }, 41);
        let elsewhere = std::thread::spawn(|| {
            // SAFETY: as above.
            unsafe { libc::sched_getcpu() }
        });
        assert_eq!(elsewhere.join().unwrap(), 0);
    }

    #[test]
    fn there_are_as_many_cpus_as_are_played_and_pages_are_what_they_are() {
        // SAFETY: the call takes a constant.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        assert_eq!(cpus, MAX_CPUS as c_long);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }, 4096);
    }
}
