//! A server's process.

use crate::server::Stop;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A child, killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command. Its standard input is a pipe that closes when this process ends.
    pub(crate) fn start(mut command: Command) -> Process {
        command.stdin(Stdio::piped());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Process { child }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Orderly => Signal::SIGTERM,
            Stop::Kill => Signal::SIGKILL,
        };
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("a child of ours");
        while self.child.try_wait().expect("a child of ours").is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}
