//! A pool that is served, as clients and as its owner find it.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::desk::{MAX_CLIENTS, PACE};
use super::*;
use crate::gfp::Gfp;
use crate::sync::clock::{self, Instant};
use crate::types::Order;

/// A pool, and a server in a folder of its own.
struct Served {
    pool: PagePool,
    server: Server,
    dir: TempDir,
}

impl Served {
    fn new() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let pool = PagePool::builder().memory(64 << 20).build().unwrap();
        let server = pool.serve(dir.path().join("cache.sock")).unwrap();
        Served { pool, server, dir }
    }

    fn client(&self) -> Client {
        Client::at(self.server.path())
    }

    fn nr_files(&self) -> usize {
        fs::read_dir(self.dir.path()).unwrap().count()
    }
}

fn since(begin: Instant) -> Duration {
    clock::now().saturating_duration_since(begin)
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn at(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Client(BufReader::new(stream))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line, if there is one.
    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let len = self.0.read_line(&mut line).unwrap();
        (len > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    fn ask(&mut self) -> Value {
        self.say("{\"get\":\"snapshot\"}\n");
        self.hear().expect("an answer")
    }

    /// Without reading it: until the system takes no more for it.
    fn wait_until_nothing_comes(&self) {
        let mut waiting = 0;
        let mut nr_the_same = 0;
        while waiting == 0 || nr_the_same < 20 {
            thread::sleep(PACE);
            let now = rustix::io::ioctl_fionread(self.0.get_ref()).unwrap();
            nr_the_same = if now == waiting { nr_the_same + 1 } else { 0 };
            waiting = now;
        }
    }

    #[track_caller]
    fn assert_hears_and_is_let_go(&mut self, key: &str, part: &str) {
        let said = self.hear().expect("a line");
        let text = said[key].as_str().unwrap_or_default();
        assert!(text.contains(part), "{said}");
        assert_eq!(self.hear(), None);
    }
}

#[test]
fn a_client_gets_the_pools_figures_as_often_as_it_asks() {
    let served = Served::new();
    assert_eq!(served.server.name(), "cache");
    let mut client = served.client();
    let before = client.ask();
    assert_eq!(before["protocol"], 1);
    assert_eq!(before["snapshot"]["name"], "cache");
    assert_eq!(before["snapshot"]["pid"], std::process::id());

    let _block = served.pool.alloc_pages(Order::new(4).unwrap(), Gfp::KERNEL);
    let after = client.ask();
    let count = |answer: &Value, name: &str| answer["snapshot"]["stats"][name].as_u64().unwrap();
    let free = served.pool.stats().free_pages as u64;
    assert_eq!(count(&after, "free_pages"), free);
    assert!(count(&before, "free_pages") > free);
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let served = Served::new();
    let found = fs::symlink_metadata(served.server.path()).unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(served.nr_files(), 1);
    drop(served.server);
    assert_eq!(fs::read_dir(served.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_that_is_left_behind_is_replaced_and_one_in_use_is_not() {
    let served = Served::new();
    let refused = served.pool.serve(served.server.path()).unwrap_err();
    assert!(matches!(refused, ServeError::InUse { .. }), "{refused}");
    served.client().ask();

    let stale = served.dir.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let second = served.pool.serve(&stale).unwrap();
    assert_eq!(Client::at(second.path()).ask()["snapshot"]["name"], "stale");
}

#[test]
fn clients_are_served_side_by_side_and_one_snapshot_serves_all() {
    let served = Served::new();
    let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| served.client()).collect();
    clients[0].ask();
    // All of these come while the next snapshot is not due.
    clients
        .iter_mut()
        .for_each(|client| client.say("{\"get\":\"snapshot\"}\n"));
    let answers: Vec<_> = clients
        .iter_mut()
        .map(|client| client.hear().unwrap())
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));

    let mut one_more = served.client();
    one_more.assert_hears_and_is_let_go("error", "as many clients");
    // Who goes makes room.
    drop(clients.pop());
    let begin = clock::now();
    loop {
        let mut next = served.client();
        next.say("{\"get\":\"snapshot\"}\n");
        if next.hear().unwrap().get("snapshot").is_some() {
            break;
        }
        assert!(since(begin) < Duration::from_secs(10));
    }
}

#[test]
fn who_asks_all_the_time_is_answered_at_a_bounded_rate() {
    let served = Served::new();
    let mut client = served.client();
    client.ask();
    let begin = clock::now();
    (0..5).for_each(|_| drop(client.ask()));
    assert!(since(begin) >= 5 * PACE - Duration::from_millis(1));
}

#[test]
fn garbage_and_requests_without_an_end_are_refused_and_harm_nobody_else() {
    let served = Served::new();
    let mut other = served.client();
    other.ask();
    let mut client = served.client();
    client.say("GET / HTTP/1.1\n");
    client.assert_hears_and_is_let_go("error", "there is one request");
    let mut client = served.client();
    client.say(&" ".repeat(5000));
    let said = client.hear().expect("a line");
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("at most 4096 bytes"),
        "{said}"
    );
    other.ask();
}

#[test]
fn who_says_that_it_has_said_all_gets_its_answer() {
    let served = Served::new();
    let mut client = served.client();
    client.say("{\"get\":\"snapshot\"}\n");
    client.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert!(client.hear().unwrap().get("snapshot").is_some());
    assert_eq!(client.hear(), None);
}

#[test]
fn the_pool_may_end_first_and_clients_are_told() {
    let Served { pool, server, dir } = Served::new();
    let mut client = Client::at(server.path());
    client.ask();
    pool.close(Duration::from_secs(1)).unwrap();
    client.say("{\"get\":\"snapshot\"}\n");
    client.assert_hears_and_is_let_go("end", "the pool has ended");
    let mut late = Client::at(server.path());
    late.say("{\"get\":\"snapshot\"}\n");
    late.assert_hears_and_is_let_go("end", "the pool has ended");
    drop(server);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_server_is_not_what_keeps_a_pool_alive() {
    let Served {
        pool,
        server,
        dir: _dir,
    } = Served::new();
    let watch = pool.watch();
    assert!(watch.upgrade().is_some());
    let block = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    drop(pool);
    // The block keeps its memory, and no handle.
    assert!(watch.upgrade().is_none());
    drop(block);
    drop(server);
    // Whatever comes to its place in memory is another pool.
    let _next = PagePool::builder().memory(64 << 20).build().unwrap();
    assert!(watch.upgrade().is_none());
}

#[test]
fn the_server_may_go_first_and_clients_are_told() {
    let Served {
        pool,
        server,
        dir: _dir,
    } = Served::new();
    let mut client = Client::at(server.path());
    client.ask();
    drop(server);
    client.assert_hears_and_is_let_go("end", "the server was stopped");
    pool.verify().unwrap();
}

/// Who has asked and does not read keeps neither the pool nor the server from ending.
#[test]
fn a_client_that_stalls_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    // A dozen of its answers are more than a socket buffers: they have 4096 pageblocks.
    let pool = PagePool::builder().memory(8 << 30).build().unwrap();
    let server = pool.serve(dir.path().join("s")).unwrap();
    let mut stalled = Client::at(server.path());
    for _ in 0..40 {
        stalled.say("{\"get\":\"snapshot\"}\n");
    }
    let mut half = Client::at(server.path());
    half.say("{\"get\"");
    stalled.wait_until_nothing_comes();
    Client::at(server.path()).ask();

    let begin = clock::now();
    pool.close(Duration::from_secs(5)).unwrap();
    drop(server);
    assert!(since(begin) < Duration::from_secs(4), "{:?}", since(begin));
    // It has what the system took for it, and that is not all.
    let mut rest = String::new();
    stalled.0.read_to_string(&mut rest).unwrap();
    assert!((1..40).contains(&rest.matches("\"protocol\"").count()));
}

/// After a fork, the thread is the parent's, and so is the file: what the child drops must harm neither.
#[test]
fn a_forked_child_that_drops_it_leaves_it_to_the_parent() {
    let Served {
        pool,
        mut server,
        dir: _dir,
    } = Served::new();
    let path = server.path().to_owned();
    let bell = server.bell.try_clone().unwrap();
    server.pid = 1;
    drop(server);
    // As in the parent: the bell is still there, and the thread, and the file.
    assert!(Client::at(&path).ask().get("snapshot").is_some());
    bell.shutdown(Shutdown::Both).unwrap();
    drop(pool);
}

#[test]
fn a_pool_without_a_path_is_found_in_the_folder_of_all() {
    let pool = PagePool::builder().memory(64 << 20).build().unwrap();
    let refused = pool.serve_as("a/b").unwrap_err();
    assert!(matches!(refused, ServeError::Name { .. }), "{refused}");
    let name = format!("test {}", thread::current().name().unwrap_or("x").len());
    let server = pool.serve_as(&name).unwrap();
    let file = format!("{}-{name}.sock", std::process::id());
    assert_eq!(server.path(), Server::folder().join(file));
    assert_eq!(Client::at(server.path()).ask()["snapshot"]["name"], *name);
    assert!(pool.serve_as(&name).is_err());
}
