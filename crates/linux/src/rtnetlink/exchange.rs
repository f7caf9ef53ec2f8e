//! Requests and answers: acknowledgements, dumps, extended acknowledgements.

use super::Rtnetlink;
use crate::Error;
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use std::collections::HashMap;

/// Bytes read at once; the kernel fills at most 32 KiB of it per part of a dump.
pub(super) const BUFFER: usize = 64 * 1024;
/// Bytes the kernel keeps for us before it drops some.
const KERNEL_BUFFER: usize = 8 * 1024 * 1024;
/// Requests sent at once: their acknowledgements fit the kernel's buffer many times over.
const BATCH: usize = 128;
/// How often a list is read again because it changed while being read.
const DUMP_ATTEMPTS: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's own words.
const ATTRIBUTE_MESSAGE: u16 = 1;
/// Bytes of the request's header that an acknowledgement repeats.
const REPEATED_HEADER: usize = 16;

/// One request, with the words that an error says it in.
pub(crate) struct Request {
    pub(super) message: RouteNetlinkMessage,
    flags: u16,
    pub(super) operation: &'static str,
    pub(super) object: String,
}

impl Request {
    fn new(
        message: RouteNetlinkMessage,
        flags: u16,
        operation: &'static str,
        object: String,
    ) -> Request {
        Request { message, flags: flags | NLM_F_REQUEST | NLM_F_ACK, operation, object }
    }

    /// Fails where the object exists.
    pub(super) fn create(m: RouteNetlinkMessage, operation: &'static str, object: String) -> Self {
        Request::new(m, NLM_F_CREATE | NLM_F_EXCL, operation, object)
    }

    /// Makes the object, or replaces it.
    pub(super) fn replace(m: RouteNetlinkMessage, operation: &'static str, object: String) -> Self {
        Request::new(m, NLM_F_CREATE | NLM_F_REPLACE, operation, object)
    }

    /// Changes or removes an object that is there.
    pub(super) fn change(m: RouteNetlinkMessage, operation: &'static str, object: String) -> Self {
        Request::new(m, 0, operation, object)
    }

    /// Reads one object.
    pub(super) fn get(m: RouteNetlinkMessage, operation: &'static str, object: String) -> Self {
        Request::new(m, 0, operation, object)
    }

    fn refused(&self, errno: Errno, extack: Option<String>) -> Error {
        let Request { operation, object, .. } = self;
        Error::Refused { operation, object: object.clone(), errno, extack }
    }

    fn system(&self, source: std::io::Error) -> Error {
        Error::system(self.operation, &self.object, source)
    }
}

/// Opens a socket with extended acknowledgements, strict checks and a large buffer.
pub(crate) fn open_socket() -> Result<(Socket, u32), Error> {
    let open = || {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        // The limit net.core.rmem_max doesn't bind root; others get what it allows.
        let forced = nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::RcvBufForce,
            &KERNEL_BUFFER,
        );
        if forced.is_err() {
            socket.set_rx_buf_sz(i32::try_from(KERNEL_BUFFER).unwrap_or(i32::MAX))?;
        }
        Ok((socket, port))
    };
    open().map_err(|source: std::io::Error| Error::system("opening", "a netlink socket", source))
}

/// The messages in what was read from a socket. One that cannot be decoded is left out: it
/// describes an object with something newer than this program, which therefore isn't ours.
pub(crate) fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = (NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>)> {
    std::iter::from_fn(move || {
        while let Some(length) = bytes.first_chunk::<4>().map(|four| u32::from_ne_bytes(*four)) {
            let length = length as usize;
            if length < REPEATED_HEADER || length > bytes.len() {
                return None;
            }
            let (one, _) = bytes.split_at(length);
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(one) {
                Ok(message) => return Some(message.into_parts()),
                Err(error) => tracing::debug!(%error, "netlink message not decoded"),
            }
        }
        None
    })
}

impl Rtnetlink {
    /// Sends requests and waits for all acknowledgements; one result per request, in order.
    pub(crate) fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), Error>> {
        requests.chunks(BATCH).flat_map(|chunk| self.send_and_wait(chunk)).collect()
    }

    fn send_and_wait(&mut self, requests: &[Request]) -> Vec<Result<(), Error>> {
        let mut bytes = Vec::new();
        let mut waiting: HashMap<u32, usize> = HashMap::new();
        for (position, request) in requests.iter().enumerate() {
            waiting.insert(self.append(request, &mut bytes), position);
        }
        let mut results: Vec<_> = requests.iter().map(|_| Ok(())).collect();
        let mut failure = self.socket.send(&bytes, 0).err();
        while failure.is_none() && !waiting.is_empty() {
            if let Err(error) = self.receive() {
                failure = Some(error);
                break;
            }
            for (header, payload) in messages(&self.buffer) {
                if let NetlinkPayload::Error(answer) = payload
                    && let Some(position) = waiting.remove(&header.sequence_number)
                    && let Some(code) = answer.code
                {
                    let errno = Errno::from_raw(-code.get());
                    results[position] = Err(requests[position].refused(errno, words(&answer)));
                }
            }
        }
        if let Some(error) = failure {
            let code = error.raw_os_error().unwrap_or(libc::EIO);
            for position in waiting.into_values() {
                let source = std::io::Error::from_raw_os_error(code);
                results[position] = Err(requests[position].system(source));
            }
        }
        results
    }

    /// Sends one request and waits for its acknowledgement.
    pub(super) fn request(&mut self, request: Request) -> Result<(), Error> {
        self.send_and_wait(std::slice::from_ref(&request)).pop().unwrap_or(Ok(()))
    }

    /// Sends one request; the messages that come before its acknowledgement.
    pub(super) fn ask(&mut self, request: Request) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut bytes = Vec::new();
        let sequence = self.append(&request, &mut bytes);
        self.socket.send(&bytes, 0).map_err(|source| request.system(source))?;
        let mut answers = Vec::new();
        loop {
            self.receive().map_err(|source| request.system(source))?;
            for (header, payload) in messages(&self.buffer) {
                if header.sequence_number != sequence {
                    continue;
                }
                match payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(answer) => {
                        return match answer.code {
                            None => Ok(answers),
                            Some(code) => {
                                Err(request.refused(Errno::from_raw(-code.get()), words(&answer)))
                            }
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Reads a list, again where it changed meanwhile.
    pub(super) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        operation: &'static str,
        object: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let request = Request {
            message,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            operation,
            object: object.into(),
        };
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(list) = self.dump_once(&request)? {
                return Ok(list);
            }
        }
        let reason = format!("it changed {DUMP_ATTEMPTS} times while being read");
        Err(Error::Answer { operation, object: object.to_owned(), reason })
    }

    /// `None`: the list changed while it was read, so that it may lack something.
    fn dump_once(&mut self, request: &Request) -> Result<Option<Vec<RouteNetlinkMessage>>, Error> {
        let mut bytes = Vec::new();
        let sequence = self.append(request, &mut bytes);
        self.socket.send(&bytes, 0).map_err(|source| request.system(source))?;
        let mut list = Vec::new();
        let mut whole = true;
        loop {
            self.receive().map_err(|source| request.system(source))?;
            for (header, payload) in messages(&self.buffer) {
                if header.sequence_number != sequence {
                    continue;
                }
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match payload {
                    NetlinkPayload::InnerMessage(item) => list.push(item),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        let extack = text(&done.extended_ack);
                        return Err(request.refused(Errno::from_raw(-done.code), extack));
                    }
                    NetlinkPayload::Done(_) => return Ok(whole.then_some(list)),
                    NetlinkPayload::Error(answer) => {
                        let code = answer.code.map_or(0, std::num::NonZeroI32::get);
                        return Err(request.refused(Errno::from_raw(-code), words(&answer)));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Appends a request's bytes; its sequence number.
    fn append(&mut self, request: &Request, bytes: &mut Vec<u8>) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = request.flags;
        header.sequence_number = self.sequence;
        let payload = NetlinkPayload::InnerMessage(request.message.clone());
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
        self.sequence
    }

    /// Fills the buffer with one datagram.
    fn receive(&mut self) -> std::io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(std::io::Error::from_raw_os_error(libc::EMSGSIZE));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The kernel's own words in an answer.
fn words(answer: &ErrorMessage) -> Option<String> {
    text(answer.header.get(REPEATED_HEADER..)?)
}

fn text(attributes: &[u8]) -> Option<String> {
    let message = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == ATTRIBUTE_MESSAGE)?;
    let text = String::from_utf8_lossy(message.value()).trim_end_matches('\0').to_owned();
    (!text.is_empty()).then_some(text)
}
