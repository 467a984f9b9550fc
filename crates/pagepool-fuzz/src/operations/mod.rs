//! A pool against a list of operations: what was written is what is read, and every invariant holds after each.
//!
//! - [`script`]: bytes as operations.
//! - [`world`]: a pool, all that was had from it, and what must be in it.
//! - [`play`]: what each operation does.
//!
//! The pool has no daemons and few frames, so that nothing happens by itself and little is much. Its stores have worker
//! threads all the same: an input is the same each time but for the order in which they come to their turns.

mod play;
mod script;
mod world;

use script::{Script, Step};
use world::World;

/// Plays an input on a pool of its own.
///
/// # Panics
/// If bytes are not what was written, an invariant does not hold, an error is not one that the input explains, or
/// something does not come back at the end. The steps so far are printed first.
pub fn operations(bytes: &[u8]) {
    let Some(script) = Script::new(bytes) else {
        return;
    };
    let mut world = World::new(&script.shape);
    let mut log = Log::default();
    for step in script.steps {
        log.0.push(step);
        world.play(step);
        world.check();
    }
    world.end();
}

/// Says what was done when something went wrong.
#[derive(Default)]
struct Log(Vec<Step>);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (n, step) in self.0.iter().enumerate() {
                eprintln!("step {n}: {step:?}");
            }
        }
    }
}
