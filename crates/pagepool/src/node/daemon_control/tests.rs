use super::*;
use crate::sync::clock;
use std::time::Duration;

fn control(state: DaemonState, asked: u8) -> DaemonControl {
    let control = DaemonControl::new();
    control.change(|_| Some(Word(asked).with(state)));
    control
}

#[test]
fn begin_is_idempotent_and_forgets_a_former_stop() {
    let control = control(DaemonState::Stopped, STOP);
    assert!(control.begin() && !control.begin());
    assert_eq!(control.state(), DaemonState::Running);
    assert!(!control.should_stop());
    control.end(Ending::Dead);
    assert!(control.begin(), "a dead daemon can be replaced");
}

#[test]
fn a_daemon_started_while_frozen_stands_still_at_once() {
    let control = control(DaemonState::Absent, FREEZE);
    assert!(control.begin());
    assert!(control.is_interrupted() && !control.should_stop());
}

#[test]
fn a_daemon_on_call_is_answered_once_and_not_while_it_is_to_stand_still_or_to_stop() {
    for state in [DaemonState::OnCall, DaemonState::Failed] {
        for asked in [FREEZE, STOP, FREEZE | STOP] {
            let told = control(state, asked);
            assert!(!told.may_answer() && !told.answer());
            assert_eq!(told.state(), state);
        }
        let free = control(state, 0);
        assert!(free.may_answer() && free.answer() && !free.answer());
        assert_eq!(free.state(), DaemonState::Running);
        free.retire();
        assert_eq!(free.state(), DaemonState::Running, "F2");
    }
}

#[test]
fn only_a_daemon_without_a_thread_stands_by_and_only_one_on_call_retires() {
    let nobody = [
        DaemonState::Absent,
        DaemonState::Stopped,
        DaemonState::Dead,
        DaemonState::Failed,
    ];
    for state in nobody {
        let free = control(state, STOP);
        assert!(free.stand_by() && !free.stand_by());
        assert!(free.may_answer(), "a former stop was for a former thread");
        free.retire();
        assert_eq!(free.state(), DaemonState::Stopped);
        assert!(!free.may_answer());
    }
    for state in [DaemonState::Running, DaemonState::Frozen] {
        let busy = control(state, 0);
        assert!(!busy.stand_by() && !busy.may_answer());
        busy.retire();
        assert_eq!(busy.state(), state);
    }
}

#[test]
fn a_safe_point_without_a_request_is_passed() {
    let control = control(DaemonState::Running, 0);
    assert_eq!(control.safe_point(|| panic!("stands")), SafePoint::Passed);
}

#[test]
fn a_daemon_that_should_stop_does_not_stand_still() {
    let control = control(DaemonState::Running, STOP | FREEZE);
    assert_eq!(control.safe_point(|| panic!("stands")), SafePoint::Stop);
    assert_eq!(control.state(), DaemonState::Running);
}

#[test]
fn a_daemon_stands_from_freeze_to_thaw() {
    let control = control(DaemonState::Running, FREEZE);
    let point = control.safe_point(|| {
        assert_eq!(control.state(), DaemonState::Frozen);
        control.thaw();
    });
    assert_eq!(point, SafePoint::Thawed);
    assert_eq!(control.state(), DaemonState::Running);
}

#[test]
fn a_stop_ends_a_freeze() {
    let control = control(DaemonState::Running, FREEZE);
    let point = control.safe_point(|| control.ask_to_stop());
    assert_eq!(point, SafePoint::Stop);
}

/// F1: seen between the thaw and the moment the daemon runs, Frozen would be no promise.
#[test]
fn a_daemon_asked_to_freeze_again_does_not_leave() {
    let word = Word(FREEZE).with(DaemonState::Frozen);
    assert_eq!(word.thaw(), None);
    assert_eq!(Word(0).freeze(), None);
}

#[test]
fn one_that_runs_on_is_told_of_after_the_deadline() {
    let control = control(DaemonState::Running, FREEZE);
    let soon = clock::deadline_after(Duration::from_millis(5));
    assert!(!control.wait_until_still(soon));
    control.end(Ending::Stopped);
    assert!(control.wait_until_still(soon), "it has ended");
}
