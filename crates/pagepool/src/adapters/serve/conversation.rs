//! What was heard from one client and what is still to be said to it (policy): bytes and the time in, bytes and a
//! deadline out.
//!
//! | The client | What follows |
//! |---|---|
//! | has asked | nothing more is read from it until it has its answer |
//! | begins a request and does not end it, or takes no answer | it is over after [`PATIENCE`] |
//! | asks for what there is not, or without an end | it gets an error, and then it is over |
//! | asks nothing | nothing: it costs nothing either |
//! | will say nothing more | it gets what it has asked for, and then it is over |
//!
//! **Invariants**
//! - C1: what is kept of a client is bounded: a request, and what came with its end, and one answer.
//! - C2: whoever keeps it waiting has a deadline.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::message::{self, Message};
use crate::sync::clock::Instant;

/// How long a client may take for the rest of a request, or to take its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request, the end of its line not counted.
pub(super) const MAX_REQUEST: usize = 4096;

/// One client's side of the table.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// What has come of the next request, or of several.
    heard: Vec<u8>,
    /// What is to be sent, and how much of it was.
    answer: Vec<u8>,
    nr_sent: usize,
    has_asked: bool,
    /// Nothing more will come.
    is_all_heard: bool,
    /// It is over once the answer is sent.
    is_last_answer: bool,
    deadline: Option<Instant>,
}

impl Conversation {
    /// Whether bytes of it are wanted.
    pub(super) fn listens(&self) -> bool {
        !(self.has_asked || self.is_all_heard || self.is_last_answer || self.has_to_send())
    }

    /// Whether it waits for an answer that is not made yet.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Whether something is to be sent.
    pub(super) fn has_to_send(&self) -> bool {
        self.nr_sent < self.answer.len()
    }

    /// What is to be sent.
    pub(super) fn to_send(&self) -> &[u8] {
        &self.answer[self.nr_sent..]
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether there is nothing left to do.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let is_done =
            (self.is_last_answer || self.is_all_heard) && !self.has_to_send() && !self.has_asked;
        is_done || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Takes bytes from the client; none are the end.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.is_all_heard |= bytes.is_empty();
        self.heard.extend_from_slice(bytes);
        self.take_request(now);
    }

    fn take_request(&mut self, now: Instant) {
        let end = self.heard.iter().position(|byte| *byte == b'\n');
        let len = end.unwrap_or(self.heard.len());
        if len > MAX_REQUEST {
            return self.refuse("a request has at most 4096 bytes", now);
        }
        let Some(end) = end else {
            let is_begun = !self.heard.is_empty() && !self.is_all_heard;
            let patience = || now.checked_add(PATIENCE);
            self.deadline = is_begun.then(|| self.deadline.or_else(patience)).flatten();
            return;
        };
        let line: Vec<u8> = self.heard.drain(..=end).collect();
        self.deadline = None;
        if message::is_request(&line[..end]) {
            self.has_asked = true;
        } else {
            self.refuse("there is one request: {\"get\":\"snapshot\"}", now);
        }
    }

    fn refuse(&mut self, why: &'static str, now: Instant) {
        self.end_with(&Message::Error(why).line(), now);
    }

    /// Gives it what it has asked for.
    pub(super) fn answer(&mut self, line: &[u8], now: Instant) {
        debug_assert!(!self.has_to_send());
        self.has_asked = false;
        self.answer.clear();
        self.answer.extend_from_slice(line);
        self.nr_sent = 0;
        self.deadline = now.checked_add(PATIENCE);
    }

    /// Says one thing more, and no more.
    pub(super) fn end_with(&mut self, line: &[u8], now: Instant) {
        self.answer(line, now);
        self.heard.clear();
        self.is_last_answer = true;
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, nr: usize, now: Instant) {
        self.nr_sent += nr;
        debug_assert!(self.nr_sent <= self.answer.len());
        if self.has_to_send() {
            return;
        }
        self.deadline = None;
        // The next one may have come with the last.
        if !self.is_last_answer {
            self.take_request(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::clock;

    const ASK: &[u8] = b"{\"get\":\"snapshot\"}\n";

    fn later(now: Instant, millis: u64) -> Instant {
        now.checked_add(Duration::from_millis(millis)).unwrap()
    }

    fn text(conversation: &Conversation) -> &str {
        std::str::from_utf8(conversation.to_send()).unwrap()
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let now = clock::now();
        let mut client = Conversation::default();
        assert!(client.listens() && client.deadline().is_none());
        client.hear(&ASK[..5], now);
        assert!(client.listens() && !client.has_asked());
        client.hear(&ASK[5..], now);
        assert!(client.has_asked() && !client.listens());
        assert_eq!(client.deadline(), None, "now it is the server's turn");

        client.answer(b"answer\n", now);
        client.sent(3, now);
        assert_eq!(text(&client), "wer\n");
        client.sent(4, now);
        assert!(!client.has_to_send() && client.listens());
        assert!(!client.is_over(later(now, 1_000_000)), "it may ask again");
    }

    #[test]
    fn requests_that_come_together_are_answered_one_by_one() {
        let now = clock::now();
        let mut client = Conversation::default();
        client.hear(&[ASK, ASK].concat(), now);
        client.answer(b"1", now);
        assert!(!client.has_asked());
        client.sent(1, now);
        assert!(client.has_asked());
        client.answer(b"2", now);
        client.sent(1, now);
        assert!(!client.has_asked() && client.listens());
    }

    #[test]
    fn who_begins_and_does_not_end_is_given_up() {
        let now = clock::now();
        let mut client = Conversation::default();
        client.hear(b"{", now);
        // What dribbles in does not prolong it.
        client.hear(b"\"", later(now, 4000));
        assert!(!client.is_over(later(now, 4999)));
        assert!(client.is_over(later(now, 5000)));
    }

    #[test]
    fn who_takes_no_answer_is_given_up() {
        let now = clock::now();
        let mut client = Conversation::default();
        client.hear(ASK, now);
        assert!(!client.is_over(later(now, 60_000)), "it waits for us");
        client.answer(b"answer\n", now);
        client.sent(1, later(now, 4000));
        assert!(!client.is_over(later(now, 4999)));
        assert!(client.is_over(later(now, 5000)));
    }

    #[test]
    fn garbage_gets_an_error_and_is_over() {
        let now = clock::now();
        for garbage in [
            &b"what?\n"[..],
            b"\n",
            b"\xff\x00\n",
            &[b"x\n", ASK].concat(),
        ] {
            let mut client = Conversation::default();
            client.hear(garbage, now);
            assert!(text(&client).contains("\"error\":\"there is one request"));
            assert!(!client.listens() && !client.is_over(now));
            client.sent(client.to_send().len(), now);
            assert!(client.is_over(now) && !client.has_asked());
        }
    }

    #[test]
    fn a_request_without_an_end_is_not_kept() {
        let now = clock::now();
        let mut client = Conversation::default();
        client.hear(&[b' '; MAX_REQUEST], now);
        assert!(client.listens());
        client.hear(b" ", now);
        assert!(text(&client).contains("at most 4096 bytes"));
        assert!(!client.listens() && client.heard.is_empty());
    }

    #[test]
    fn who_says_nothing_more_gets_its_answer() {
        let now = clock::now();
        let mut client = Conversation::default();
        client.hear(ASK, now);
        client.is_all_heard = true;
        assert!(!client.is_over(now));
        client.answer(b"answer\n", now);
        assert!(!client.is_over(now));
        client.sent(7, now);
        assert!(client.is_over(now));

        let mut client = Conversation::default();
        client.hear(&ASK[..5], now);
        client.hear(b"", now);
        assert!(client.is_over(now), "half a request is none");
    }
}
