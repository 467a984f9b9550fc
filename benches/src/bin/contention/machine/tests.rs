use super::*;
use crate::directory::Access;

const COSTS: Costs = Costs {
    instruction_ns: 1.0,
    locked_ns: 5.0,
    line_ns: 100.0,
    far: 3.0,
    socket: 2,
    wake_ns: 1_000.0,
};

const WORD: u64 = 640;

fn machine(threads: usize) -> Machine {
    let cpus: Vec<usize> = (0..threads).collect();
    let extent = Extent {
        warm: 0,
        counted: 1,
    };
    Machine::new(COSTS, extent, &cpus)
}

fn touch(access: Access) -> Touch {
    Touch {
        address: WORD,
        size: 4,
        access,
        is_waited_for: access == Access::Read,
    }
}

fn step(touches: &[Touch]) -> Step<'_> {
    Step {
        place: 1,
        is_locked: false,
        is_shared: false,
        touches,
        lock: None,
    }
}

fn execute(machine: &mut Machine, thread: usize, access: Access) -> f64 {
    machine.execute(thread, &step(&[touch(access)]));
    machine.cpus[thread].now_ns
}

fn execute_locked(machine: &mut Machine, thread: usize, lock: Option<LockStep>) -> f64 {
    let touches = [touch(Access::Write)];
    let step = Step {
        is_locked: true,
        lock,
        ..step(&touches)
    };
    machine.execute(thread, &step);
    machine.cpus[thread].now_ns
}

#[test]
fn what_is_at_hand_takes_an_instruction() {
    let mut machine = machine(2);
    assert_eq!(execute(&mut machine, 0, Access::Write), 1.0);
    assert_eq!(execute(&mut machine, 0, Access::Read), 2.0);
    assert_eq!(machine.books.counts.transfers, 0);
    assert_eq!(machine.books.counts.cold, 1);
}

#[test]
fn a_line_of_another_socket_takes_longer() {
    let mut machine = machine(4);
    execute(&mut machine, 0, Access::Write);
    assert_eq!(execute(&mut machine, 1, Access::Read), 101.0);
    // It was on its way to the other until 101.
    assert_eq!(execute(&mut machine, 2, Access::Read), 401.0);
    assert_eq!(machine.books.lines[&10].transfers, 2);
    assert_eq!(machine.books.lines[&10].busy_ns, 400.0);
}

#[test]
fn a_store_is_waited_for_by_the_next_locked_instruction_only() {
    let mut machine = machine(2);
    execute(&mut machine, 0, Access::Write);
    assert_eq!(execute(&mut machine, 1, Access::Write), 1.0);
    assert_eq!(execute_locked(&mut machine, 1, None), 106.0);
}

#[test]
fn a_cpu_has_so_many_stores_on_their_way() {
    let mut machine = machine(2);
    execute(&mut machine, 0, Access::Write);
    // The first moves the line, and is done at 101; those behind it are done no earlier.
    for store in 1..=STORES {
        assert_eq!(execute(&mut machine, 1, Access::Write), store as f64);
    }
    assert_eq!(execute(&mut machine, 1, Access::Write), 101.0);
}

#[test]
fn what_is_shared_waits_for_the_earliest() {
    let mut machine = machine(2);
    execute(&mut machine, 0, Access::Write);
    let touches = [touch(Access::Write)];
    // Thread 1 is behind, and may still come to the line before; its own is nobody else's.
    assert!(machine.is_turn_of(0, &step(&touches)));
    assert!(machine.is_turn_of(1, &step(&touches)));
    execute(&mut machine, 1, Access::Read);
    machine.spend(1, 1_000.0);
    assert!(machine.is_turn_of(0, &step(&touches)));
    assert!(!machine.is_turn_of(1, &step(&touches)));
    assert!(machine.is_turn_of(1, &step(&[])));
}

#[test]
fn a_lock_is_handed_over_when_another_takes_it() {
    let mut machine = machine(2);
    for thread in [0, 0, 1, 0] {
        execute_locked(&mut machine, thread, Some(LockStep::Take(WORD)));
        machine.spend(thread, 50.0);
        execute_locked(&mut machine, thread, Some(LockStep::GiveBack(WORD)));
    }
    let lock = &machine.books.locks[&WORD];
    assert_eq!((lock.takes, lock.hand_overs), (4, 2));
    assert_eq!(lock.held_ns, 4.0 * 55.0);
}

#[test]
fn who_sleeps_first_is_woken_first_and_runs_later() {
    let mut machine = machine(3);
    machine.spend(0, 500.0);
    machine.sleep(2, WORD);
    machine.sleep(1, WORD);
    assert_eq!(machine.earliest(), Some(0));
    assert_eq!(machine.wake(0, WORD + 4, 1), 0);
    assert_eq!(machine.wake(0, WORD, 1), 1);
    assert_eq!(machine.cpus[2].now_ns, 1_500.0);
    assert_eq!(
        machine.cpus[1].state,
        State::Asleep {
            word: WORD,
            since: 2
        }
    );
    assert_eq!(machine.wake(0, WORD, 5), 1);
}

#[test]
fn it_counts_from_the_last_that_is_warm_to_the_last_that_is_done() {
    let extent = Extent {
        warm: 1,
        counted: 1,
    };
    let mut machine = Machine::new(COSTS, extent, &[0, 1]);
    machine.spend(0, 10.0);
    assert!(machine.finish_operation(0, 5));
    machine.spend(1, 10.0);
    assert!(machine.finish_operation(1, 5));
    assert_eq!(machine.books.counts.done, 0, "those were to get warm");
    machine.spend(0, 30.0);
    assert!(machine.finish_operation(0, 7));
    machine.spend(1, 30.0);
    assert!(!machine.finish_operation(1, 7));
    assert_eq!(machine.books.counts.done, 14);
    assert_eq!(machine.span_ns(), 30.0);
    assert_eq!(machine.earliest(), Some(0));
}
