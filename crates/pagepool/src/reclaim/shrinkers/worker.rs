//! The thread of a shrinker, which calls it. It is started when there is something to call for, sleeps in
//! between without a deadline, and ends when the handle was dropped, or the pool has ended.

use std::sync::Arc;

use super::desk::Desk;
use super::run::Call;
use super::{Shrinker, Table};
use crate::backing::callback;
use crate::node::identity;
use crate::reclaim::policy::trust::Conduct;
use crate::sync::{clock, thread};

impl Desk {
    /// Starts the worker; returns whether there is one now. The caller has seen that there was none, and has
    /// noted that there is.
    #[cold]
    pub(super) fn start_worker(self: &Arc<Desk>, table: &Arc<Table>) -> bool {
        let name = format!("pool-shrink/{}", self.idx);
        let (desk, its_table) = (Arc::clone(self), Arc::clone(table));
        let started = (self.spawn)(&name, Box::new(move || desk.work(&its_table)));
        let Err(error) = started else {
            return true;
        };
        tracing::warn!(target: "pagepool::shrinker", %error, "no thread for {name}");
        let mut state = self.state.lock();
        state.give_up_worker(clock::now());
        let is_closed = state.is_closed;
        drop(state);
        self.ended.wake_all();
        if is_closed {
            table.vacate(self);
        }
        false
    }

    /// The life of the worker.
    fn work(self: Arc<Desk>, table: &Table) {
        self.state.lock().thread = Some(thread::current_id());
        while let Some(job) = self.next_job() {
            let user = self.user.lock().clone();
            let conduct = match user {
                Some(user) => Call::new(&self, job).make(table, user),
                None => Conduct::Idle,
            };
            self.complete(conduct);
        }
        table.vacate(&self);
        self.state.lock().end_worker();
        self.ended.wake_all();
    }
}

impl Call<'_> {
    /// Makes the call, as one of the pool's callbacks. The shrinker may be ending: then it does so here, and
    /// that is part of the call.
    fn make(&self, table: &Table, user: Arc<dyn Shrinker>) -> Conduct {
        let _inside = callback::enter(self.job.callers, self.desk.pool);
        let _measured = identity::measure(self.desk.pool);
        identity::take_freed();
        identity::take_freed_of_files();
        let conduct = self.run(table, &*user);
        match Call::guard(|| drop(user)) {
            Some(()) => conduct,
            None => Conduct::Panicked,
        }
    }
}
