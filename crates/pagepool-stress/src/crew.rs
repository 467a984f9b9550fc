//! The threads that players play on.
//!
//! They start once, touch their stacks, and wait for orders; a phase costs no new thread and no
//! new memory. A player travels to its thread with an order and comes back when it is carried out,
//! so that between orders the conductor owns all of them and the pool is quiescent.
#![forbid(unsafe_code)]

use std::{
    any::Any,
    hint::black_box,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::{
    player::{Played, Player, Stage},
    posts::Place,
};

/// Stack of a player's thread, and how much of it is touched in advance.
const STACK: usize = 512 << 10;
const TOUCHED: usize = 192 << 10;

/// A player with a seat in the crew.
pub(crate) type Seat = Box<dyn Player>;

/// What a player is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Play up to so many events.
    Play(u64),
    /// Verify and free what is held.
    Release,
    /// Go back to the beginning.
    Rewind,
}

struct Task {
    player: Seat,
    order: Order,
    stage: Stage,
}

/// What came back: the player, or the message of its panic.
type Done = Result<(Seat, Played), String>;

struct Worker {
    tasks: Option<Sender<Task>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

/// The threads.
pub(crate) struct Crew {
    workers: Vec<Worker>,
}

impl Crew {
    /// Starts `size` threads.
    pub(crate) fn start(size: usize) -> io::Result<Crew> {
        Ok(Crew {
            workers: (0..size).map(Worker::start).collect::<io::Result<_>>()?,
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.workers.len()
    }

    /// Gives all players the same order and waits for all.
    ///
    /// A player that panics is lost, and its message is returned.
    pub(crate) fn perform(
        &self,
        players: &mut Vec<Seat>,
        order: Order,
        stage: &Stage,
    ) -> (Vec<Played>, Vec<String>) {
        let busy = &self.workers[..players.len()];
        for (n, (worker, player)) in busy.iter().zip(players.drain(..)).enumerate() {
            let stage = Stage {
                worker: n,
                ..stage.clone()
            };
            worker.send(Task {
                player,
                order,
                stage,
            });
        }
        let (mut endings, mut panics) = (Vec::new(), Vec::new());
        for worker in busy {
            match worker.wait() {
                Ok((player, played)) => {
                    players.push(player);
                    endings.push(played);
                }
                Err(message) => panics.push(message),
            }
        }
        (endings, panics)
    }
}

impl Worker {
    fn start(n: usize) -> io::Result<Worker> {
        let (tasks, inbox) = bounded::<Task>(1);
        let (outbox, done) = bounded::<Done>(1);
        let thread = thread::Builder::new()
            .name(format!("player{n}"))
            .stack_size(STACK)
            .spawn(move || {
                touch_stack();
                for task in inbox {
                    if outbox.send(carry_out(task)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Worker {
            tasks: Some(tasks),
            done,
            thread: Some(thread),
        })
    }

    fn send(&self, task: Task) {
        let tasks = self.tasks.as_ref().expect("open until dropped");
        tasks
            .send(task)
            .expect("a worker lives as long as its crew");
    }

    fn wait(&self) -> Done {
        let done = self.done.recv();
        done.unwrap_or_else(|_| Err("a player's thread ended".to_owned()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic outside a task would have shown in `wait`.
            let _ = thread.join();
        }
    }
}

fn carry_out(task: Task) -> Done {
    let Task {
        mut player,
        order,
        stage,
    } = task;
    let (posts, worker) = (Arc::clone(&stage.control), stage.worker);
    posts.posts().stand(worker, Place::Playing);
    // The player is dropped if it panics, so nobody sees it half-changed.
    let done = catch_unwind(AssertUnwindSafe(move || {
        let _works = stage.pool.register_worker();
        let played = match order {
            Order::Play(events) => player.play(&stage, events),
            Order::Release => {
                player.release(&stage);
                Played::Paused
            }
            Order::Rewind => {
                player.rewind();
                Played::Paused
            }
        };
        (player, played)
    }))
    .map_err(|panic| format!("panic: {}", message(panic.as_ref())));
    posts.posts().stand(worker, Place::Resting);
    done
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// Makes the part of the stack that players need resident.
#[inline(never)]
fn touch_stack() {
    black_box([1_u8; TOUCHED]);
}
