//! What survives: kills, restarts, damaged, foreign, locked and full files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use datastore::{Error, Options, Server};
use rig::{Process, delete, get, kv, leases, list, put};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;
use tonic::Code;

const FILE: &str = "datastore.redb";

/// Writers at once in the tests that kill.
const WRITERS: usize = 8;

/// kill -9 in the middle of writes: whatever was acknowledged is there, in the order of revisions.
#[tokio::test]
async fn an_acknowledged_write_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(String, i64)> = Vec::new();
    for round in 0..6 {
        let mut server = Process::ours(directory.path());
        let channel = server.connect().await;
        let count = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (mut kv, count) = (kv(&channel), count.clone());
            writers.spawn(async move {
                let mut written = Vec::new();
                loop {
                    let key = format!("/kill/{round}/{writer}/{}", written.len());
                    let Ok(response) = kv.put(put(&key, "value")).await else { return written };
                    written.push((key, response.into_inner().header.unwrap().revision));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while count.load(Ordering::Relaxed) < 100 + 37 * round {
            tokio::task::yield_now().await;
        }
        server.kill();
        acknowledged.extend(writers.join_all().await.into_iter().flatten());
    }
    let server = Process::ours(directory.path());
    let channel = server.connect().await;
    let found = kv(&channel).range(list("/kill/")).await.unwrap().into_inner();
    let found: std::collections::HashMap<String, i64> = found
        .kvs
        .into_iter()
        .map(|kv| (String::from_utf8(kv.key).unwrap(), kv.mod_revision))
        .collect();
    for (key, revision) in &acknowledged {
        assert_eq!(found.get(key), Some(revision), "{key}");
    }
    // One revision per write, whichever was acknowledged: none is lost or given twice.
    let mut revisions: Vec<i64> = found.values().copied().collect();
    revisions.sort_unstable();
    let expected: Vec<i64> = (2..2 + i64::try_from(found.len()).unwrap()).collect();
    assert_eq!(revisions, expected);
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut before = None;
    for _ in 0..3 {
        let server = Server::start(Options::local(directory.path())).await.unwrap();
        let channel = rig::connect(&server.endpoints()[0]).await;
        let mut kv = kv(&channel);
        let seen = kv.range(list("/")).await.unwrap().into_inner();
        if let Some(before) = before.take() {
            assert_eq!(seen, before);
        }
        let revision = seen.header.unwrap().revision;
        kv.put(put("/a", revision.to_string())).await.unwrap();
        kv.put(put(format!("/b/{revision}"), "x")).await.unwrap();
        kv.delete_range(delete("/a")).await.unwrap();
        let past = etcd::RangeRequest { revision: revision + 1, ..get("/a") };
        let value = kv.range(past).await.unwrap().into_inner().kvs[0].value.clone();
        assert_eq!(value, revision.to_string().into_bytes());
        let lease = etcd::LeaseGrantRequest { ttl: 600, id: revision };
        leases(&channel).lease_grant(lease).await.unwrap();
        before = Some(kv.range(list("/")).await.unwrap().into_inner());
        drop((kv, channel));
        server.stop().await.unwrap();
    }
    let server = Server::start(Options::local(directory.path())).await.unwrap();
    let channel = rig::connect(&server.endpoints()[0]).await;
    let all = leases(&channel).lease_leases(etcd::LeaseLeasesRequest {}).await.unwrap();
    assert_eq!(all.into_inner().leases.len(), 3);
    drop(channel);
    server.stop().await.unwrap();
}

async fn start_error(directory: &Path) -> Error {
    match Server::start(Options::local(directory)).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

/// Cut anywhere, or overwritten: refused, named, and not touched.
#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let server = Server::start(Options::local(directory.path())).await.unwrap();
    let channel = rig::connect(&server.endpoints()[0]).await;
    for number in 0..100 {
        kv(&channel).put(put(format!("/{number}"), [7; 1000])).await.unwrap();
    }
    drop(channel);
    server.stop().await.unwrap();
    let sound = std::fs::read(&path).unwrap();
    let mut cases: Vec<Vec<u8>> =
        [0, 1, 100, 4096, 5000, sound.len() / 2, sound.len() - 4096, sound.len() - 1]
            .map(|length| sound[..length].to_vec())
            .to_vec();
    cases.push(b"SQLite format 3\0 and more".to_vec());
    cases.push(vec![0; sound.len()]);
    for damaged in cases {
        std::fs::write(&path, &damaged).unwrap();
        let error = start_error(directory.path()).await;
        let text = error.to_string();
        assert!(matches!(error, Error::Damaged { .. }), "{} bytes: {text}", damaged.len());
        assert!(text.contains(FILE) && text.contains("move it away"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "{} bytes", damaged.len());
    }
    std::fs::write(&path, &sound).unwrap();
    Server::start(Options::local(directory.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn another_redb_s_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let table: redb::TableDefinition<&str, &str> = redb::TableDefinition::new("theirs");
    let database = redb::Database::create(directory.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("a", "b").unwrap();
    transaction.commit().unwrap();
    let error = start_error(directory.path()).await;
    assert!(matches!(error, Error::InUse(_)), "{error}");
    drop(database);
    let error = start_error(directory.path()).await;
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::ours(directory.path());
    server.connect().await;
    let error = start_error(directory.path()).await;
    assert!(matches!(error, Error::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
}

/// A file system of 3 MiB of its own, in a mount namespace that vanishes with the server.
struct SmallDisk {
    server: Process,
    directory: String,
}

impl SmallDisk {
    fn new(directory: &Path) -> Self {
        let directory = directory.display().to_string();
        let script = format!(
            "mount -t tmpfs -o size=3m datastore-test {directory} && exec \"$@\" --data-dir {directory}"
        );
        Self {
            server: Process::within(&["unshare", "--mount", "sh", "-c", &script, "sh"]),
            directory,
        }
    }

    /// Runs a shell command where the disk is.
    fn run(&self, script: &str) {
        let target = self.server.id().to_string();
        let status = Command::new("nsenter")
            .args(["--target", &target, "--mount", "sh", "-c", script])
            .status()
            .unwrap();
        assert!(status.success(), "{script}: are you root?");
    }
}

/// Full disk: writes are refused with the reason, reads go on, and writing resumes when there is
/// space.
#[tokio::test]
async fn a_full_disk_refuses_writes_only() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(directory.path());
    let channel = disk.server.connect().await;
    let mut kv = kv(&channel);
    kv.put(put("/first", "1")).await.unwrap();
    disk.run(&format!("dd if=/dev/zero of={}/ballast bs=64k 2>/dev/null; true", disk.directory));
    let mut written = 0;
    let status = loop {
        match kv.put(put(format!("/fill/{written}"), [b'x'; 20_000])).await {
            Ok(_) => written += 1,
            Err(status) => break status,
        }
        assert!(written < 1_000, "the disk never fills");
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(
        status.message().starts_with("etcdserver: mvcc: database space exceeded"),
        "{status:?}"
    );
    assert!(status.message().contains(&disk.directory), "{status:?}");
    let count = kv.range(list("/fill/")).await.unwrap().into_inner().count;
    assert_eq!(count, written);
    assert_eq!(kv.range(get("/first")).await.unwrap().into_inner().kvs[0].value, b"1");
    kv.put(put("/first", "2")).await.unwrap_err();
    assert_eq!(kv.range(get("/first")).await.unwrap().into_inner().kvs[0].value, b"1");
    disk.run(&format!("rm {}/ballast", disk.directory));
    let begin = std::time::Instant::now();
    while kv.put(put("/first", "3")).await.is_err() {
        assert!(begin.elapsed() < rig::PATIENCE, "writing does not resume");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let first = kv.range(get("/first")).await.unwrap().into_inner().kvs.remove(0);
    assert_eq!((first.value.as_slice(), first.version), (&b"3"[..], 2));
}

/// A file that may only be read is served for reading.
#[tokio::test]
async fn a_read_only_disk_is_served_for_reading() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Process::ours(directory.path());
    kv(&server.connect().await).put(put("/a", "1")).await.unwrap();
    // Killed, so that the file needs the repair that cannot be written.
    server.kill();
    let path = directory.path().display().to_string();
    let script = format!("mount --bind -o ro {path} {path} && exec \"$@\" --data-dir {path}");
    let server = Process::within(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let channel = server.connect().await;
    assert_eq!(kv(&channel).range(get("/a")).await.unwrap().into_inner().kvs[0].value, b"1");
    let status = kv(&channel).put(put("/a", "2")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains(FILE), "{status:?}");
    assert_eq!(kv(&channel).range(get("/a")).await.unwrap().into_inner().kvs[0].value, b"1");
}
