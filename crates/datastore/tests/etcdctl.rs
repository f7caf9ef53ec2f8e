//! Debian's etcdctl 3.4 against our server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use rig::Process;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs etcdctl; answers with what it printed and whether it succeeded.
fn etcdctl(endpoint: &str, words: &[&str], input: &str) -> (String, bool) {
    let mut child = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", endpoint])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Debian's etcd-client is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

/// Command, input, and what the output must contain, in order.
const SESSION: &[(&str, &str, &[&str])] = &[
    ("endpoint health", "", &["is healthy"]),
    ("put /a 1", "", &["OK"]),
    ("put /a 2 --prev-kv", "", &["OK\n/a\n1\n"]),
    ("put /b x", "", &["OK"]),
    ("get / --prefix", "", &["/a\n2\n/b\nx\n"]),
    ("get /a --rev=2", "", &["/a\n1\n"]),
    ("get / --prefix --keys-only", "", &["/a\n\n/b\n"]),
    ("get / --prefix --limit=1", "", &["/a\n2\n"]),
    ("get / --prefix --sort-by=MODIFY --order=DESCEND", "", &["/b\nx\n/a\n2\n"]),
    ("get /a -w fields", "", &["\"CreateRevision\" : 2", "\"ModRevision\" : 3", "\"Version\" : 2"]),
    (
        "txn",
        "value(\"/a\") = \"2\"\nmod(\"/b\") > \"1\"\n\nput /c 3\nget /a\n\nget /b\n\n",
        &["SUCCESS", "OK", "/a\n2\n"],
    ),
    ("txn", "version(\"/a\") = \"9\"\n\nput /c 4\n\nget /c\n\n", &["FAILURE", "/c\n3\n"]),
    ("del /b --prev-kv", "", &["1\n/b\nx\n"]),
    ("lease grant 600", "", &["granted with TTL(600s)"]),
    ("lease list", "", &["found 1 leases"]),
    ("lease timetolive 77", "", &["already expired"]),
    ("compaction 3", "", &["compacted revision 3"]),
    ("endpoint status", "", &["3.4.23", "true"]),
    ("endpoint status -w json", "", &["\"revision\":6", "\"leader\":"]),
    ("member list", "", &["started, calico-datastore"]),
    ("alarm list", "", &[]),
    ("defrag", "", &["Finished defragmenting"]),
    ("get /a", "", &["/a\n2\n"]),
];

const REFUSALS: &[(&str, &str)] = &[
    ("get /a --rev=2", "etcdserver: mvcc: required revision has been compacted"),
    ("get /a --rev=99", "etcdserver: mvcc: required revision is a future revision"),
    ("put --lease=77 /x 1", "etcdserver: requested lease not found"),
    ("put --ignore-value /x", "etcdserver: key not found"),
    ("auth enable", "Unimplemented"),
];

#[tokio::test]
async fn a_session_of_etcdctl_works() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::ours(directory.path());
    server.connect().await;
    for (command, input, expected) in SESSION {
        let words: Vec<&str> = command.split(' ').collect();
        let (output, success) = etcdctl(&server.address, &words, input);
        assert!(success, "{command}: {output}");
        let mut rest = output.as_str();
        for part in *expected {
            let at =
                rest.find(part).unwrap_or_else(|| panic!("{command}: no {part:?} in {output}"));
            rest = &rest[at + part.len()..];
        }
    }
    for (command, expected) in REFUSALS {
        let words: Vec<&str> = command.split(' ').collect();
        let (output, success) = etcdctl(&server.address, &words, "");
        assert!(!success && output.contains(expected), "{command}: {output}");
    }
}
