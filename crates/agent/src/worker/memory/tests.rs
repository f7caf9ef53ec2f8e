//! What is remembered is what the datastore would say; a conflict forgets it, and so does a failure.

use super::*;
use model::{Failure, Revision};
use std::collections::VecDeque;
use store::settings::Settings;

/// A protocol that asks one request after the other, and may fail in the end.
struct Script {
    fails: bool,
    requests: VecDeque<Request>,
    answers: Vec<Response>,
}

impl Protocol for Script {
    type Output = Result<Vec<Response>, ()>;

    fn step(&mut self, answer: Option<Response>) -> Step<Self::Output> {
        self.answers.extend(answer);
        match self.requests.pop_front() {
            Some(request) => Step::Ask(request),
            None if self.fails => Step::Done(Err(())),
            None => Step::Done(Ok(std::mem::take(&mut self.answers))),
        }
    }
}

fn script<const N: usize>(requests: [Request; N]) -> Script {
    Script { fails: false, requests: requests.into(), answers: Vec::new() }
}

/// A server that isn't there: an answer is one of memory.
async fn nobody() -> std::sync::Arc<dyn Datastore> {
    let settings = Settings::new("unix:///no/such/socket").expect("settings");
    store::connect(&settings).await.expect("a datastore")
}

fn entry(key: &Key, revision: u64) -> Entry {
    Entry::new(key.clone(), b"{}".to_vec(), Revision(revision))
}

#[tokio::test]
async fn what_was_written_is_read_without_the_server() {
    let (nobody, mut memory) = (nobody().await, Memory::default());
    let handle = Key::Handle("net.1".to_owned());
    memory.remember(entry(&handle, 7));
    let read = script([Request::Get(handle.clone())]);
    let known = Response::Entry(Some(entry(&handle, 7)));
    assert_eq!(memory.drive(&*nobody, read).await, Ok(vec![known]));
    // A protocol that decides by what it reads is not answered so.
    let read = script([Request::Get(handle.clone())]);
    let answers = memory.follow(&*nobody, read).await.expect("no failure");
    assert!(matches!(&*answers, [Response::Failed(Failure::Unavailable(_))]), "{answers:?}");
    // What has failed may have been carried out: it is read again.
    let delete = Request::Delete { key: handle.clone(), revision: Revision(7) };
    let asked = script([delete, Request::Get(handle)]);
    let answers = memory.drive(&*nobody, asked).await.expect("no failure");
    let failed = |answer: &Response| matches!(answer, Response::Failed(Failure::Unavailable(_)));
    assert!(answers.len() == 2 && answers.iter().all(failed), "{answers:?}");
}

#[tokio::test]
async fn what_was_of_no_use_is_read_again() {
    let (nobody, mut memory) = (nobody().await, Memory::default());
    let block = Key::Block("10.0.0.0/26".parse().expect("a range"));
    memory.remember(entry(&block, 7));
    let read = Script { fails: true, ..script([Request::Get(block.clone())]) };
    assert_eq!(memory.drive(&*nobody, read).await, Err(()));
    let answers = memory.drive(&*nobody, script([Request::Get(block)])).await.expect("no failure");
    assert!(matches!(&*answers, [Response::Failed(Failure::Unavailable(_))]), "{answers:?}");
}

#[test]
fn the_newer_of_told_and_remembered_counts() {
    let key = |text: &str| Key::Block(text.parse().expect("a range"));
    let (older, newer, unknown) = (key("10.0.0.0/26"), key("10.0.0.64/26"), key("10.0.0.128/26"));
    let mut memory = Memory::default();
    memory.remember(entry(&older, 5));
    memory.remember(entry(&newer, 9));
    let told = vec![entry(&older, 6), entry(&newer, 8), entry(&unknown, 1)];
    let newest = memory.newest(told);
    assert_eq!(newest, [entry(&older, 6), entry(&newer, 9), entry(&unknown, 1)]);
    assert_eq!(memory.entries[&older].revision, Revision(6));
    // IPAM's settings are the watch's to tell.
    memory.remember(entry(&Key::IpamConfig, 1));
    assert_eq!(memory.entries.len(), 2);
}
