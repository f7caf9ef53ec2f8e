//! A protocol written as straight code: an `async` body whose only awaits are datastore requests.
//!
//! There is no runtime: [`Operation::step`] polls the body once with a waker that does nothing. The
//! body stops at its next request and goes on when `step` brings the answer.

use crate::Error;
use crate::contents::damage;
use ipnet::IpNet;
use model::{Block, Entry, Failure, Key, Protocol, Query, Request, Response, Revision, Step};
use serde::{Serialize, de::DeserializeOwned};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A running IPAM operation. Dropping it is what a killed process does.
pub struct Operation<T> {
    body: Pin<Box<dyn Future<Output = T> + Send>>,
    io: Io,
}

impl<T> Operation<T> {
    pub(crate) fn new<F>(body: impl FnOnce(Io) -> F) -> Operation<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let io = Io(Arc::default());
        Operation { body: Box::pin(body(io.clone())), io }
    }
}

impl<T> Protocol for Operation<T> {
    type Output = T;

    fn step(&mut self, answer: Option<Response>) -> Step<T> {
        self.io.exchange().answer = answer;
        match self.body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Step::Done(output),
            Poll::Pending => {
                let request = self.io.exchange().request.take();
                Step::Ask(request.expect("a body waits for nothing but the answer to a request"))
            }
        }
    }
}

/// The body's way to the datastore.
#[derive(Clone)]
pub(crate) struct Io(Arc<Mutex<Exchange>>);

#[derive(Default)]
struct Exchange {
    request: Option<Request>,
    answer: Option<Response>,
}

/// A value as read, with the revision a write must name.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

/// The cluster's blocks.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) readable: Vec<Stored<Block>>,
    /// By their keys, with what is wrong with each. Nobody knows which of their addresses are held.
    pub(crate) unreadable: Vec<(IpNet, Error)>,
}

impl Blocks {
    /// The readable ones; the error of an unreadable one where `concerned` says it matters.
    pub(crate) fn all(
        self,
        concerned: impl Fn(&IpNet) -> bool,
    ) -> Result<Vec<Stored<Block>>, Error> {
        match self.unreadable.into_iter().find(|(cidr, _)| concerned(cidr)) {
            Some((_, why)) => Err(why),
            None => Ok(self.readable),
        }
    }
}

/// What became of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    /// Done; the new revision (zero for a deletion).
    Done(Revision),
    /// Somebody else changed, created or removed the key first: read again.
    Lost,
}

impl Io {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: Request) -> Response {
        self.exchange().request = Some(request);
        poll_fn(|_| match self.exchange().answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }

    pub(crate) async fn get<T>(&self, key: &Key) -> Result<Option<Stored<T>>, Error>
    where
        T: DeserializeOwned,
    {
        match self.ask(Request::Get(key.clone())).await {
            Response::Entry(entry) => entry.as_ref().map(decode).transpose(),
            other => Err(unexpected(key.to_string(), other)),
        }
    }

    pub(crate) async fn block(&self, cidr: IpNet) -> Result<Option<Stored<Block>>, Error> {
        match self.get(&Key::Block(cidr)).await? {
            Some(stored) => sound(cidr, stored).map(Some),
            None => Ok(None),
        }
    }

    /// All blocks; those that cannot be read apart, so that they stop nobody who does not need them.
    pub(crate) async fn blocks(&self) -> Result<Blocks, Error> {
        let mut found = Blocks::default();
        for entry in self.list(Query::Blocks).await? {
            match (decode_block(&entry), entry.key) {
                (Ok(block), _) => found.readable.push(block),
                (Err(why), Key::Block(cidr)) => found.unreadable.push((cidr, why)),
                (Err(why), _) => return Err(why),
            }
        }
        Ok(found)
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Vec<Entry>, Error> {
        let prefix = query.prefix();
        match self.ask(Request::List(query)).await {
            Response::Entries(entries) => Ok(entries),
            other => Err(unexpected(format!("the keys under {prefix}"), other)),
        }
    }

    pub(crate) async fn create(&self, key: &Key, value: &impl Serialize) -> Result<Swap, Error> {
        self.write(key, Request::Create { key: key.clone(), value: encode(value) }).await
    }

    pub(crate) async fn update(
        &self,
        key: &Key,
        value: &impl Serialize,
        revision: Revision,
    ) -> Result<Swap, Error> {
        let (key_of_request, value) = (key.clone(), encode(value));
        self.write(key, Request::Update { key: key_of_request, value, revision }).await
    }

    pub(crate) async fn delete(&self, key: &Key, revision: Revision) -> Result<Swap, Error> {
        self.write(key, Request::Delete { key: key.clone(), revision }).await
    }

    async fn write(&self, key: &Key, request: Request) -> Result<Swap, Error> {
        match self.ask(request).await {
            Response::Written(revision) => Ok(Swap::Done(revision)),
            Response::Deleted => Ok(Swap::Done(Revision::default())),
            Response::Failed(Failure::Conflict | Failure::NotFound) => Ok(Swap::Lost),
            other => Err(unexpected(key.to_string(), other)),
        }
    }
}

/// Reads an entry. Calico stores a confirmed affinity as an empty value too.
pub(crate) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<Stored<T>, Error> {
    let bytes = if entry.value.is_empty() { b"{}".as_slice() } else { &entry.value };
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(Stored { value, revision: entry.revision }),
        Err(cause) => Err(Error::Corrupt { key: entry.key.clone(), reason: cause.to_string() }),
    }
}

/// Reads a block's entry and makes sure that its lists agree.
pub(crate) fn decode_block(entry: &Entry) -> Result<Stored<Block>, Error> {
    let stored = decode::<Block>(entry)?;
    match entry.key {
        Key::Block(cidr) => sound(cidr, stored),
        _ => sound(stored.value.cidr, stored),
    }
}

fn sound(cidr: IpNet, stored: Stored<Block>) -> Result<Stored<Block>, Error> {
    let reason = if stored.value.cidr == cidr {
        damage(&stored.value)
    } else {
        Some(format!("it says that it is block {}", stored.value.cidr))
    };
    match reason {
        None => Ok(stored),
        Some(reason) => Err(Error::Corrupt { key: Key::Block(cidr), reason }),
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("IPAM values have string keys only, so they are always JSON")
}

fn unexpected(what: String, answer: Response) -> Error {
    let reason = match answer {
        Response::Failed(failure) => failure.to_string(),
        _ => "the datastore's answer does not fit the request".to_owned(),
    };
    Error::Unavailable { what, reason }
}
