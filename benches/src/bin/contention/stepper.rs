//! Executes threads one instruction at a time, on a [`Machine`] that says whose turn it is.
//!
//! A thread sets the trap flag of its processor. From then on each of its instructions ends in a signal, whose
//! handler looks at the next one: what it touches, and whether the machine lets it happen now. If another thread is
//! due, that one gets the turn, and the handler waits to get it back. So the code that is executed is the real one,
//! in the order of the machine's clocks, and needs no debugger and no rights.
//!
//! A call that waits for a word or rings it is not made, but played: whoever waits really would keep the turn.
//!
//! **Invariants**
//! - T1: one thread has the turn; only it touches the stage, and only it executes anything but waiting for its turn.
//! - T2: what is executed step by step takes no memory from the heap: the handler does.

use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::{mem, process, ptr, thread};

use iced_x86::Register;
use libc::{c_int, c_void, siginfo_t, ucontext_t};

use crate::Failure;
use crate::decode::{Decoded, Kind, MAX_LENGTH, Touch};
use crate::directory::MAX_CPUS;
use crate::loads::Worker;
use crate::machine::{LockStep, Machine, Step};
use crate::virtual_cpus;

/// What the handler needs, beside the machine.
struct Stage {
    machine: Machine,
    decoded: HashMap<u64, Decoded>,
    touches: Vec<Touch>,
    times: CallTimes,
}

/// What calls of the system take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTimes {
    /// A call that does nothing.
    pub(crate) syscall_ns: f64,
    /// A pause in a loop.
    pub(crate) pause_ns: f64,
}

struct Guarded(UnsafeCell<Option<Stage>>);

// SAFETY: (T1) only the thread that has the turn touches what is inside, and turns are passed on by Release and
// Acquire.
unsafe impl Sync for Guarded {}

static STAGE: Guarded = Guarded(UnsafeCell::new(None));

/// 1 for the thread that has the turn.
static TURNS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

thread_local! {
    static ME: Cell<usize> = const { Cell::new(0) };
    static THREAD_AREA: Cell<u64> = const { Cell::new(0) };
}

/// The stage, for as long as the caller has the turn.
///
/// # Safety
/// The caller has the turn, and no other reference that came from here.
unsafe fn stage<'a>() -> &'a mut Stage {
    // SAFETY: (T1) the caller is the only one who looks.
    let stage = unsafe { &mut *STAGE.0.get() };
    stage.as_mut().expect("it is set before anybody has a turn")
}

fn pass_turn(to: usize) {
    // Release: what was done in this turn; pairs with the Acquire in `await_turn`.
    TURNS[to].store(1, Ordering::Release);
    // SAFETY: the word lives for ever; the call only looks who sleeps on its address.
    unsafe { libc::syscall(libc::SYS_futex, TURNS[to].as_ptr(), libc::FUTEX_WAKE, 1) };
}

fn await_turn(me: usize) {
    // Acquire: what was done in the turns before.
    while TURNS[me].swap(0, Ordering::Acquire) == 0 {
        let forever = ptr::null::<libc::timespec>();
        // SAFETY: the word lives for ever, and there is no deadline to be read.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                TURNS[me].as_ptr(),
                libc::FUTEX_WAIT,
                0,
                forever,
            )
        };
    }
}

/// Plays threads on a machine until it is over, and returns the machine. All of them stay on the CPU that the caller
/// is on. `make` makes a thread's worker on that thread.
pub(crate) fn play<W: Worker>(
    machine: Machine,
    times: CallTimes,
    cpus: &[usize],
    make: impl Fn(usize) -> W + Sync,
) -> Result<Machine, Failure> {
    install_handler()?;
    let stage = Stage {
        machine,
        decoded: HashMap::new(),
        touches: Vec::new(),
        times,
    };
    // SAFETY: (T1) nobody has a turn yet.
    unsafe { *STAGE.0.get() = Some(stage) };
    let (all_done, most_warm) = (Barrier::new(cpus.len()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for (me, &cpu) in cpus.iter().enumerate() {
            let (all_done, most_warm, make) = (&all_done, &most_warm, &make);
            scope.spawn(move || {
                virtual_cpus::settle_on(cpu);
                enter(me);
                let worker = act(me, cpus.len(), most_warm, make);
                // Nobody plays any more: what workers give back now is nobody's business.
                all_done.wait();
                drop(worker);
            });
        }
        pass_turn(0);
    });
    // SAFETY: (T1) all threads have ended.
    let stage = unsafe { (*STAGE.0.get()).take() };
    Ok(stage.expect("it was put there").machine)
}

/// What one thread does: it gets warm beside the others, one operation each, and then steps. Nobody steps before all are
/// warm: a thread that steps is stopped anywhere, also where it holds a lock, for which one that does not would wait
/// for ever.
fn act<W: Worker>(
    me: usize,
    threads: usize,
    most_warm: &AtomicUsize,
    make: impl Fn(usize) -> W,
) -> W {
    let next = (me + 1) % threads;
    await_turn(me);
    let mut worker = make(me);
    let warm = worker.warm_operations();
    // Relaxed: ordered by the turns.
    most_warm.fetch_max(warm, Ordering::Relaxed);
    pass_turn(next);
    await_turn(me);
    for round in 0..most_warm.load(Ordering::Relaxed) {
        if round < warm {
            worker.operate();
        }
        pass_turn(next);
        await_turn(me);
    }
    loop {
        begin_stepping();
        let done = worker.operate();
        end_stepping();
        // SAFETY: this thread has the turn, and the handler has returned.
        let machine = unsafe { &mut stage().machine };
        let goes_on = machine.finish_operation(me, done);
        let next = machine.earliest();
        if let Some(next) = next
            && next != me
        {
            pass_turn(next);
            if goes_on {
                await_turn(me);
            }
        }
        if !goes_on {
            return worker;
        }
    }
}

/// Sets the trap flag: from the next instruction but one on, each ends in a signal.
fn begin_stepping() {
    // SAFETY: (1) the stack is as before, and the flag is the only thing that changes; (2) the handler is installed.
    unsafe { std::arch::asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq") };
}

fn end_stepping() {
    // SAFETY: the stack is as before, and the flag is the only thing that changes.
    unsafe { std::arch::asm!("pushfq", "and dword ptr [rsp], 0xfffffeff", "popfq") };
}

/// Prepares the calling thread for signals.
fn enter(me: usize) {
    const STACK_BYTES: usize = 256 << 10;
    ME.set(me);
    let area: u64;
    // SAFETY: the thread's area begins with its own address, by the ABI.
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) area, options(nostack, readonly)) };
    THREAD_AREA.set(area);
    // A stack of its own keeps the handler off the lines of the thread's. Threads are few: it stays.
    let stack = Box::leak(vec![0u8; STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: STACK_BYTES,
    };
    // SAFETY: the stack is there for ever, as long as we say, and nobody else's.
    let status = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    assert_eq!(status, 0, "a stack of this size is accepted");
}

fn install_handler() -> Result<(), Failure> {
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_trap;
    // SAFETY: all zeros is a value of this type.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that `SA_SIGINFO` asks for, and what it does is described at it.
    let status = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, ptr::null_mut()) };
    if status != 0 {
        return Err(Failure::broken("cannot handle traps"));
    }
    Ok(())
}

/// Looks at the instruction that is about to be executed. What it interrupts takes no memory and holds no lock of the
/// library's (T2), so that this may do both.
extern "C" fn on_trap(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: it is this thread's own, and is there as long as the thread is.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: the system hands a context that is the handler's until it returns.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    let mut registers = Registers(context);
    while look(ME.get(), &mut registers) == Next::Look {}
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// What the handler does next.
#[derive(PartialEq, Eq)]
enum Next {
    /// Lets the instruction happen.
    Return,
    /// Looks at the next one: this one was played.
    Look,
}

fn look(me: usize, registers: &mut Registers<'_>) -> Next {
    // SAFETY: (T1) whoever steps has the turn, and this is the only reference until it is passed on.
    let stage = unsafe { stage() };
    let place = registers.place();
    let instruction = stage
        .decoded
        .entry(place)
        .or_insert_with(|| decode_at(place));
    stage.touches.clear();
    stage
        .touches
        .extend(instruction.touches(|register| registers.value(register)));
    let step = Step {
        place,
        is_locked: instruction.is_locked,
        is_shared: instruction.kind == Kind::Syscall,
        touches: &stage.touches,
        lock: lock_step(instruction.kind, &stage.touches, registers),
    };
    if !stage.machine.is_turn_of(me, &step) {
        let next = stage.machine.earliest();
        give_way(me, next);
        return Next::Look;
    }
    match instruction.kind {
        Kind::Syscall => {
            stage.machine.spend(me, stage.times.syscall_ns);
            if registers.value(Register::RAX) == Some(FUTEX) {
                let length = instruction.length;
                let result = play_futex(me, &mut stage.machine, registers);
                registers.skip_call(length, result);
                return Next::Look;
            }
        }
        Kind::Pause => stage.machine.spend(me, stage.times.pause_ns),
        Kind::CompareExchange(_) | Kind::Exchange(_) | Kind::Ordinary => {}
    }
    stage.machine.execute(me, &step);
    Next::Return
}

const FUTEX: u64 = libc::SYS_futex as u64;

/// Lets that thread go on, the earliest, and waits for the turn.
fn give_way(me: usize, next: Option<usize>) {
    match next {
        Some(next) if next != me => pass_turn(next),
        Some(_) => return,
        None => {
            eprintln!("pagepool-contention: all threads sleep");
            process::abort();
        }
    }
    await_turn(me);
}

/// Plays a wait for a word, or a ring, and returns what the system would.
fn play_futex(me: usize, machine: &mut Machine, registers: &Registers<'_>) -> i64 {
    let argument = |register| registers.value(register).unwrap_or(0);
    let (word, value) = (argument(Register::RDI), argument(Register::RDX));
    let operation = (argument(Register::RSI) as c_int) & libc::FUTEX_CMD_MASK;
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            if read_word(word) != value as u32 {
                return -i64::from(libc::EAGAIN);
            }
            machine.sleep(me, word);
            // Not before it is woken.
            give_way(me, machine.earliest());
            0
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => machine.wake(me, word, value as usize) as i64,
        other => {
            eprintln!("pagepool-contention: nobody can play operation {other} of a futex");
            process::abort();
        }
    }
}

/// What an instruction means for a lock: std's is 0 while it is free, and 2 while somebody waits for it.
fn lock_step(kind: Kind, touches: &[Touch], registers: &Registers<'_>) -> Option<LockStep> {
    let lock = touches.first()?.address;
    let take = || match read_word(lock) {
        0 => LockStep::Take(lock),
        _ => LockStep::FindTaken(lock),
    };
    match kind {
        Kind::CompareExchange(new) => {
            let is_lock = registers.value(Register::EAX) == Some(0);
            (is_lock && registers.value(new) == Some(1)).then(take)
        }
        Kind::Exchange(new) => match registers.value(new) {
            Some(0) => Some(LockStep::GiveBack(lock)),
            Some(2) => Some(take()),
            _ => None,
        },
        Kind::Ordinary | Kind::Syscall | Kind::Pause => None,
    }
}

fn read_word(address: u64) -> u32 {
    let word = address as *const u32;
    // SAFETY: the instruction that is about to be executed, or the call, reads this word itself.
    unsafe { word.read_volatile() }
}

fn decode_at(place: u64) -> Decoded {
    let at = place as *const u8;
    // SAFETY: (1) code is about to be executed here, and the program's code is followed by more than the longest
    // instruction of data; (2) nobody writes to it.
    let bytes = unsafe { std::slice::from_raw_parts(at, MAX_LENGTH) };
    Decoded::new(bytes, place)
}

/// The registers of an interrupted thread.
struct Registers<'a>(&'a mut ucontext_t);

/// Where registers are, by their number in instructions.
const GENERAL: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

impl Registers<'_> {
    fn at(&mut self, register: c_int) -> &mut i64 {
        &mut self.0.uc_mcontext.gregs[register as usize]
    }

    fn place(&self) -> u64 {
        self.0.uc_mcontext.gregs[libc::REG_RIP as usize] as u64
    }

    /// What is in a register; nothing, if it is none that addresses are made of.
    fn value(&self, register: Register) -> Option<u64> {
        if register == Register::FS {
            return Some(THREAD_AREA.get());
        }
        if register.is_segment_register() {
            return Some(0);
        }
        let place = GENERAL.get(register.full_register().number())?;
        let whole = self.0.uc_mcontext.gregs[*place as usize] as u64;
        match register.size() {
            8 => Some(whole),
            4 => Some(whole & 0xffff_ffff),
            _ => None,
        }
    }

    /// Goes on behind a call of the system, as if it had returned this.
    fn skip_call(&mut self, length: u64, result: i64) {
        *self.at(libc::REG_RAX) = result;
        *self.at(libc::REG_RIP) += length as i64;
    }
}
