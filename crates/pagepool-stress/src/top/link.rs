//! A connection to a pool that is served: asks, and understands the answer or says why not.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::wire::{ASK, Line, PROTOCOL, Protocol, Snapshot};

/// How long an answer may take, unless the process is stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that an answer may have: a pool of a TiB says some 2 MiB.
const MAX_ANSWER: u64 = 256 << 20;

/// What a pool says.
#[derive(Debug)]
pub(super) enum Said {
    /// How it stands, and the same as it was sent.
    Snapshot(Box<Snapshot>, String),
    /// That there will be no more.
    End(String),
}

/// Why a pool cannot be seen: a line.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("nothing is served at {}: {what}", .path.display())]
    Nothing { path: PathBuf, what: &'static str },
    #[error("cannot look at {}: {source}; only its owner and root may", .path.display())]
    Forbidden { path: PathBuf, source: io::Error },
    #[error("cannot look at {}: {source}", .path.display())]
    System { path: PathBuf, source: io::Error },
    #[error("{} is not a pagepool's: {what}", .path.display())]
    Foreign { path: PathBuf, what: &'static str },
    #[error(
        "the pool at {} speaks version {theirs} of the protocol, and this program version {PROTOCOL}: \
         use a pagepool-stress that was built with the same pagepool",
        .path.display()
    )]
    Protocol { path: PathBuf, theirs: u64 },
    #[error("the pool at {} refuses: {why}", .path.display())]
    Refused { path: PathBuf, why: String },
    #[error(
        "no answer from {} within {PATIENCE:?}: its process is stopped, or no pagepool",
        .path.display()
    )]
    Late { path: PathBuf },
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Link {
    pub(super) fn to(path: &Path) -> Result<Link, Trouble> {
        let path = path.to_owned();
        match UnixStream::connect(&path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        }) {
            Ok(stream) => {
                let stream = BufReader::new(stream);
                Ok(Link { path, stream })
            }
            Err(error) => Err(connect_trouble(path, error)),
        }
    }

    /// Asks for a snapshot.
    pub(super) fn ask(&mut self) -> Result<Said, Trouble> {
        let mut line = String::new();
        // A server that lets nobody in says why, and does not listen.
        let asked = self.stream.get_mut().write_all(ASK);
        let heard = self.hear(&mut line);
        match (asked, heard) {
            (Ok(()) | Err(_), Ok(len)) if len > 0 => self.understand(line),
            (Ok(()), Ok(_)) => Ok(Said::End("the process has ended".to_owned())),
            (Err(error), _) | (Ok(()), Err(error)) => self.stream_trouble(error),
        }
    }

    fn hear(&mut self, line: &mut String) -> io::Result<usize> {
        self.stream.by_ref().take(MAX_ANSWER).read_line(line)
    }

    fn stream_trouble(&self, source: io::Error) -> Result<Said, Trouble> {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                Ok(Said::End("the process has ended".to_owned()))
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Trouble::Late { path }),
            io::ErrorKind::InvalidData => Err(Trouble::Foreign {
                path,
                what: "it says what is no text",
            }),
            _ => Err(Trouble::System { path, source }),
        }
    }

    fn understand(&self, line: String) -> Result<Said, Trouble> {
        let path = self.path.clone();
        let foreign = |what| {
            let path = path.clone();
            move |_| Trouble::Foreign { path, what }
        };
        let Protocol { protocol } = serde_json::from_str(&line)
            .map_err(foreign("it does not answer with the version of a protocol"))?;
        if protocol != PROTOCOL {
            let theirs = protocol;
            return Err(Trouble::Protocol { path, theirs });
        }
        let said: Line =
            serde_json::from_str(&line).map_err(foreign("it answers with what no pool says"))?;
        debug_assert_eq!(said.protocol, protocol);
        match said {
            Line {
                snapshot: Some(snapshot),
                ..
            } => Ok(Said::Snapshot(snapshot, line)),
            Line { end: Some(why), .. } => Ok(Said::End(why)),
            Line {
                error: Some(why), ..
            } => Err(Trouble::Refused { path, why }),
            _ => Err(Trouble::Foreign {
                path,
                what: "it says nothing that is known",
            }),
        }
    }
}

fn connect_trouble(path: PathBuf, source: io::Error) -> Trouble {
    let is_socket = || fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket());
    let nothing = |path, what| Trouble::Nothing { path, what };
    match source.kind() {
        io::ErrorKind::NotFound => nothing(path, "there is no such file"),
        io::ErrorKind::PermissionDenied => Trouble::Forbidden { path, source },
        io::ErrorKind::ConnectionRefused if is_socket() => {
            nothing(path, "the process that made it has ended")
        }
        io::ErrorKind::ConnectionRefused => Trouble::Foreign {
            path,
            what: "it is no socket",
        },
        _ => Trouble::System { path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// What becomes of a program that says this at a socket.
    fn asked(says: &[u8]) -> Result<Said, Trouble> {
        let dir = std::env::temp_dir();
        let unique = crate::rng::any_seed();
        let path = dir.join(format!("pagepool-link-{}-{unique}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let says = says.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(&says).unwrap();
        });
        let said = Link::to(&path).and_then(|mut link| link.ask());
        server.join().unwrap();
        fs::remove_file(&path).unwrap();
        said
    }

    #[track_caller]
    fn assert_trouble(says: &[u8], part: &str) {
        let trouble = asked(says).unwrap_err().to_string();
        assert!(
            trouble.contains(part) && !trouble.contains('\n'),
            "{trouble}"
        );
    }

    #[test]
    fn what_no_pool_says_is_told_apart() {
        assert_trouble(b"HTTP/1.1 400 Bad Request\r\n", "is not a pagepool's");
        assert_trouble(b"\xff\xfe\n", "no text");
        assert_trouble(
            b"{\"protocol\":2,\"moon\":1}\n",
            "version 2 of the protocol",
        );
        assert_trouble(b"{\"protocol\":1}\n", "nothing that is known");
        assert_trouble(
            b"{\"protocol\":1,\"snapshot\":{\"pid\":\"x\"}}\n",
            "what no pool says",
        );
        assert_trouble(b"{\"protocol\":1,\"error\":\"full\"}\n", "refuses: full");
    }

    #[test]
    fn an_end_is_no_trouble() {
        let said = asked(b"{\"protocol\":1,\"end\":\"the pool has ended\"}\n").unwrap();
        assert!(matches!(said, Said::End(why) if why == "the pool has ended"));
        let said = asked(b"").unwrap();
        assert!(matches!(said, Said::End(why) if why == "the process has ended"));
    }
}
