//! The thread at the socket: lets clients in, hears them, answers them.
//!
//! ```text
//!            ┌───────────────────── sleeps in poll, without a deadline unless somebody waits
//!            ▼
//!   bell is shut? ── yes ──► says so to all, ends
//!            │ no
//!   let in · hear · one snapshot for all who ask, at most every 50 ms · send · let go
//! ```
//!
//! **Invariants**
//! - C5: every descriptor is non-blocking, and the thread waits in one place: no client keeps it from hearing the
//!   bell.
//! - C6: a handle to the pool exists here only while a snapshot is taken: the pool is not kept alive. If its owner's
//!   last handle goes meanwhile, this one is the last, and the pool ends here.
//! - C7: snapshots come at most every [`PACE`], whoever asks for them.
//!
//! Not here: what is said ([`message`](super::message)), and whose turn it is to say something
//! ([`conversation`](super::conversation)).

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendFlags, send};
use rustix::process::Uid;

use super::conversation::Conversation;
use super::message::{Identity, Message, Snapshot};
use crate::pool::WeakPool;
use crate::sync::clock::{self, Instant};

/// The least time between two snapshots.
pub(super) const PACE: Duration = Duration::from_millis(50);

/// Clients at a time.
pub(super) const MAX_CLIENTS: usize = 8;

/// For how long nobody is let in after the system had no descriptor to give.
const REST: Duration = Duration::from_secs(1);

/// What the thread has.
#[derive(Debug)]
pub(super) struct Desk {
    pool: WeakPool,
    who: Identity,
    /// Only this user, and root, are let in.
    owner: Uid,
    listener: UnixListener,
    /// Shut when the thread is to end.
    bell: UnixStream,
    clients: Vec<Client>,
    began: Instant,
    /// When the next snapshot may be taken.
    next_snapshot: Instant,
    /// Until when nobody is let in.
    resting_until: Option<Instant>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    conversation: Conversation,
    /// It is not there any more.
    is_gone: bool,
}

/// Who has something for the thread.
struct Ready {
    bell: PollFlags,
    listener: PollFlags,
    clients: Vec<PollFlags>,
}

impl Desk {
    pub(super) fn new(
        pool: WeakPool,
        who: Identity,
        owner: Uid,
        listener: UnixListener,
        bell: UnixStream,
    ) -> Desk {
        let now = clock::now();
        Desk {
            pool,
            who,
            owner,
            listener,
            bell,
            clients: Vec::new(),
            began: now,
            next_snapshot: now,
            resting_until: None,
        }
    }

    /// Serves until the bell is shut.
    pub(super) fn run(mut self) {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                // The system has no memory: let it breathe.
                Err(_) => {
                    crate::sync::thread::sleep(PACE);
                    continue;
                }
            };
            if !ready.bell.is_empty() {
                return self.say_goodbye();
            }
            self.hear(&ready.clients);
            if ready.listener.contains(PollFlags::IN) {
                self.let_in();
            }
            self.answer();
            self.clients.iter_mut().for_each(Client::send);
            let now = clock::now();
            self.clients
                .retain(|client| !client.is_gone && !client.conversation.is_over(now));
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> Result<Ready, Errno> {
        let to_listen = match self.rests_until() {
            Some(_) => PollFlags::empty(),
            None => PollFlags::IN,
        };
        let mut fds = vec![
            PollFd::new(&self.bell, PollFlags::IN),
            PollFd::new(&self.listener, to_listen),
        ];
        fds.extend(self.clients.iter().map(Client::poll_fd));
        poll(&mut fds, self.time_to_wait().as_ref())?;
        let flags: Vec<_> = fds.iter().map(PollFd::revents).collect();
        Ok(Ready {
            bell: flags[0],
            listener: flags[1],
            clients: flags[2..].to_vec(),
        })
    }

    /// Until when nobody is let in, if that is still to come.
    fn rests_until(&self) -> Option<Instant> {
        self.resting_until.filter(|until| *until > clock::now())
    }

    /// None while nobody waits.
    fn time_to_wait(&self) -> Option<Timespec> {
        let conversations = || self.clients.iter().map(|client| &client.conversation);
        let is_asked = conversations().any(Conversation::has_asked);
        let deadlines = conversations().filter_map(Conversation::deadline);
        let next = deadlines
            .chain(is_asked.then_some(self.next_snapshot))
            .chain(self.rests_until())
            .min()?;
        let time = next.saturating_duration_since(clock::now());
        // Up, so that it is not too early by a fraction of what the system counts in.
        let time = time + Duration::from_micros(1);
        Some(Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        })
    }

    fn hear(&mut self, ready: &[PollFlags]) {
        let now = clock::now();
        for (client, ready) in self.clients.iter_mut().zip(ready) {
            if ready.contains(PollFlags::IN) {
                client.hear(now);
            } else if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
                client.is_gone = true;
            }
        }
    }

    /// Lets in all who wait, or says why not.
    fn let_in(&mut self) {
        self.resting_until = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // It would be said again and again at once.
                Err(_) => {
                    self.resting_until = clock::deadline_after(REST);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let is_allowed =
            socket_peercred(&stream).is_ok_and(|peer| peer.uid == self.owner || peer.uid.is_root());
        let refusal = match () {
            () if !is_allowed => Some("only the owner of the process may look at it"),
            () if self.clients.len() >= MAX_CLIENTS => {
                Some("there are as many clients as it serves")
            }
            () => None,
        };
        if let Some(why) = refusal {
            // As much of it as goes at once.
            let _ = send(&stream, &Message::Error(why).line(), SendFlags::NOSIGNAL);
            return;
        }
        self.clients.push(Client {
            stream,
            conversation: Conversation::default(),
            is_gone: false,
        });
    }

    /// Takes a snapshot if somebody wants one and it is time (C7), and gives it to all who do.
    fn answer(&mut self) {
        let now = clock::now();
        let is_asked = self
            .clients
            .iter()
            .any(|client| client.conversation.has_asked());
        if !is_asked || now < self.next_snapshot {
            return;
        }
        let line = self.snapshot();
        let now = clock::now();
        self.next_snapshot = now.checked_add(PACE).unwrap_or(now);
        let asking = { self.clients.iter_mut() }
            .map(|client| &mut client.conversation)
            .filter(|conversation| conversation.has_asked());
        for conversation in asking {
            match &line {
                Some(line) => conversation.answer(line, now),
                None => conversation.end_with(&Message::End("the pool has ended").line(), now),
            }
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let pool = self.pool.upgrade()?;
        let served_for = clock::now().saturating_duration_since(self.began);
        let snapshot = Snapshot::of(&pool, &self.who, served_for);
        // Before it is written down, which takes longer (C6).
        drop(pool);
        Some(Message::Snapshot(Box::new(snapshot)).line())
    }

    /// Tells who is not in the middle of an answer that there will be no more.
    fn say_goodbye(mut self) {
        let line = Message::End("the server was stopped").line();
        let now = clock::now();
        let others =
            { self.clients.iter_mut() }.filter(|client| !client.conversation.has_to_send());
        for client in others {
            client.conversation.end_with(&line, now);
            client.send();
        }
    }
}

impl Client {
    fn poll_fd(&self) -> PollFd<'_> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.conversation.listens());
        flags.set(PollFlags::OUT, self.conversation.has_to_send());
        PollFd::new(&self.stream, flags)
    }

    fn hear(&mut self, now: Instant) {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(len) => self.conversation.hear(&bytes[..len], now),
            Err(error) => self.is_gone |= !is_for_later(error.kind()),
        }
    }

    /// Sends as much as is taken.
    fn send(&mut self) {
        while self.conversation.has_to_send() && !self.is_gone {
            match send(
                &self.stream,
                self.conversation.to_send(),
                SendFlags::NOSIGNAL,
            ) {
                Ok(nr) => self.conversation.sent(nr, clock::now()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.is_gone = true,
            }
        }
    }
}

fn is_for_later(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use rustix::process::geteuid;

    use super::*;
    use crate::pool::PagePool;

    #[test]
    fn it_sleeps_without_a_deadline_unless_somebody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let pool = PagePool::builder().memory(64 << 20).build().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (_bell, at_desk) = UnixStream::pair().unwrap();
        let who = Identity {
            name: String::new(),
            pid: 1,
        };
        let mut desk = Desk::new(pool.watch(), who, geteuid(), listener, at_desk);
        assert_eq!(desk.time_to_wait(), None);
        // A rest has an end, and is not looked at again and again after it.
        desk.resting_until = clock::deadline_after(REST);
        assert!(desk.time_to_wait().is_some_and(|time| time.tv_sec <= 1));
        desk.resting_until = Some(clock::now());
        assert_eq!(desk.time_to_wait(), None);

        let (_client, stream) = UnixStream::pair().unwrap();
        desk.welcome(stream);
        assert_eq!(desk.time_to_wait(), None, "it has not asked");
        let now = clock::now();
        desk.clients[0].conversation.hear(b"{", now);
        assert!(
            desk.time_to_wait()
                .is_some_and(|time| (4..=5).contains(&time.tv_sec))
        );
    }
}
