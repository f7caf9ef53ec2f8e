//! For tests: network namespaces that nothing but an open file keeps alive, and programs in them.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;

pub(crate) struct Namespace(File);

impl Namespace {
    /// A new namespace, joined to nothing; its loopback is up.
    pub(crate) fn new() -> Namespace {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
            run("ip", &["link", "set", "lo", "up"]);
            File::open("/proc/thread-self/ns/net").expect("the thread's namespace")
        });
        Namespace(made.join().expect("thread"))
    }

    /// Runs `body` in the namespace.
    pub(crate) fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace");
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A name that `ip link … netns` takes.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs a program in the calling thread's namespace; returns what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    feed(program, arguments, "").expect("success")
}

/// The same with standard input; fails with what it says on standard error.
pub(crate) fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("program installed");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// `nft -s list table`, without the last newline.
pub(crate) fn listed(family: &str, table: &str) -> String {
    run("nft", &["-s", "list", "table", family, table]).trim_end().to_owned()
}
