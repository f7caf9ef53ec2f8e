//! Namespaces by file, and processes in them.

use crate::machine::Machine;
use linux::netns::NetNs;
use linux::process::{Namespace, Spawn, spawn};
use nix::sched::CloneFlags;
use std::path::Path;
use std::process::{Command, Stdio};

fn identity() -> String {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap().display().to_string()
}

#[test]
fn a_bound_namespace_is_found_by_its_file() {
    let directory = std::env::temp_dir().join(format!("linux-netns-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("name");
    let machine = Machine::new();
    let inside = machine.namespace.run(identity).unwrap();
    assert_ne!(inside, identity());
    machine.namespace.bind(&file).unwrap();
    assert_eq!(NetNs::open(&file).unwrap().run(identity).unwrap(), inside);
    NetNs::unbind(&file).unwrap();
    NetNs::unbind(&file).unwrap();
    assert!(!file.exists());
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn a_missing_namespace_is_named() {
    let error = NetNs::open("/run/netns/nowhere").unwrap_err();
    assert!(error.is_absent());
    assert!(error.to_string().contains("/run/netns/nowhere"), "{error}");
}

fn output_of(child: std::process::Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_process_is_first_in_new_namespaces_and_another_joins_it() {
    let mut first = Command::new("sh");
    first.args(["-c", "echo $$; read line || true"]);
    first.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut request = Spawn::new(first);
    request.unshare = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    request.new_session = true;
    request.kill_on_parent_death = true;
    let child = spawn(request).unwrap();
    let process = format!("/proc/{}", child.id());
    let namespace = |of: &str| std::fs::read_link(format!("{of}/ns/net")).unwrap();
    assert_ne!(namespace(&process), namespace("/proc/self"));

    let mut second = Command::new("sh");
    second.args(["-c", "echo $$"]).stdout(Stdio::piped());
    let mut request = Spawn::new(second);
    request.enter = Namespace::all_of(Path::new(&process)).unwrap();
    assert_eq!(output_of(spawn(request).unwrap()), "2");
    // Its input ends, and so does it: nothing has killed it meanwhile.
    assert_eq!(output_of(child), "1");
}

#[test]
fn signals_that_the_caller_holds_back_reach_its_child() {
    use nix::sys::signal::{SigSet, Signal};
    let held = SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]);
    held.thread_block().unwrap();
    let mut command = Command::new("cat");
    command.arg("/proc/self/status").stdout(Stdio::piped());
    let status = output_of(spawn(Spawn::new(command)).unwrap());
    held.thread_unblock().unwrap();
    let blocked = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
    assert_eq!(blocked.split_whitespace().nth(1), Some("0000000000000000"), "{blocked}");
}
