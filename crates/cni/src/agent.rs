//! The agent, asked over its Unix socket, and the spool for what it could not be told.

use crate::error::{Code, Error};
use node::api::{DeleteWorkload, Reply, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take; the agent gives up a little earlier.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(100);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A connection, good for one request.
pub(crate) struct Agent<'a> {
    stream: UnixStream,
    socket: &'a Path,
}

impl Agent<'_> {
    /// Connects.
    ///
    /// # Errors
    /// Code 11 where nobody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Agent<'_>, Error> {
        let stream = UnixStream::connect(socket).map_err(|error| absent(socket, &error))?;
        Ok(Agent { stream, socket })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// As [`Agent::tell`] and [`Agent::answer`].
    pub(crate) fn ask(mut self, request: &Request) -> Result<Reply, Error> {
        self.tell(request)?;
        self.answer()
    }

    /// Asks, or tells what belongs to what was asked.
    ///
    /// # Errors
    /// Code 11 where the agent went away.
    pub(crate) fn tell(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| Error::new(Code::Decoding, format!("writing a request: {error}")))?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(|error| absent(self.socket, &error))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Code 11 where the agent went away or says to try again; code 102 where it refuses.
    pub(crate) fn answer(self) -> Result<Reply, Error> {
        let mut answer = String::new();
        self.stream
            .set_read_timeout(Some(ANSWER_TIME_MAX))
            .and_then(|()| {
                BufReader::new(Read::take(&self.stream, ANSWER_BYTES_MAX)).read_line(&mut answer)
            })
            .map_err(|error| absent(self.socket, &error))?;
        if !answer.ends_with('\n') {
            return Err(absent(self.socket, &"it ended before it answered"));
        }
        match serde_json::from_str(&answer) {
            Ok(Reply::Failed { retry: true, message }) => Err(Error::new(Code::TryAgain, message)),
            Ok(Reply::Failed { retry: false, message }) => Err(Error::new(Code::Agent, message)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(Error::new(
                Code::Decoding,
                format!(
                    "the agent at {} answered what is not understood ({error}); are the plugin \
                     and calico-node of the same version?",
                    self.socket.display()
                ),
            )),
        }
    }
}

fn absent(socket: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::TryAgain,
        format!(
            "no answer from the agent at {}: {why}: is calico-node running on this node, with \
             /var/run/calico mounted? its log says why it isn't; the runtime will try again",
            socket.display()
        ),
    )
}

/// Leaves a removal for the agent to do later. It stands there whole or not at all.
///
/// # Errors
/// Code 5 where it cannot be written.
pub(crate) fn spool(directory: &Path, removal: &DeleteWorkload) -> Result<PathBuf, Error> {
    let path = spooled(directory, removal);
    let written = serde_json::to_vec(removal)
        .map_err(std::io::Error::from)
        .and_then(|content| linux::file::replace(&path, &content));
    written.map_err(|error| {
        Error::new(
            Code::Io,
            format!(
                "{}: {error}: so the addresses of container {} stay assigned; make the directory \
                 writable, or release them by `calicoctl ipam release`",
                path.display(),
                removal.id.container_id
            ),
        )
    })?;
    Ok(path)
}

/// Where the removal of this endpoint is left.
pub(crate) fn spooled(directory: &Path, removal: &DeleteWorkload) -> PathBuf {
    directory.join(removal.spool_file())
}
