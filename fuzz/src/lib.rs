//! What a fuzz target does with its bytes. A test of `calico` runs the same over the corpus, on a
//! stable compiler.

use bgp::wire::{Agreed, HEADER_BYTES, MESSAGE_BYTES_MAX, Message, frame};
use std::collections::BTreeMap;

/// What one target does.
pub type Case = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const CASES: [(&str, Case); 11] = [
    ("bgp_message", bgp_message),
    ("bgp_stream", bgp_stream),
    ("bgp_open", bgp_open),
    ("bgp_update", bgp_update),
    ("selector", selector),
    ("resource", resource),
    ("cni_netconf", cni_netconf),
    ("agent_request", agent_request),
    ("conntrack", conntrack),
    ("nflog", nflog),
    ("nflog_prefix", nflog_prefix),
];

/// Both abilities, from the two lowest bits of a byte.
fn agreed(byte: u8) -> Agreed {
    Agreed { four_octet_as: byte & 1 != 0, external: byte & 2 != 0 }
}

/// What was understood can be said, and is understood again.
fn bgp_understood(bytes: &[u8], agreed: Agreed) {
    let Ok(message) = Message::decode(bytes, agreed) else { return };
    let mut said = Vec::new();
    message.encode(agreed, &mut said);
    let mut rest = said.as_slice();
    while let Some(length) = frame(rest).expect("a header of ours") {
        assert!(length <= MESSAGE_BYTES_MAX);
        let again = Message::decode(&rest[..length], agreed);
        assert!(again.is_ok(), "{message:?} said as {said:02x?} is {again:?}");
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
}

/// A byte of abilities, then a message.
pub fn bgp_message(data: &[u8]) {
    if let [abilities, message @ ..] = data {
        bgp_understood(message, agreed(*abilities));
    }
}

/// What a peer sends on its connection: messages, the last of them perhaps not whole.
pub fn bgp_stream(mut data: &[u8]) {
    while let Ok(Some(length)) = frame(data) {
        assert!((HEADER_BYTES..=data.len()).contains(&length));
        bgp_understood(&data[..length], agreed(1));
        data = &data[length..];
    }
}

/// The body of an OPEN.
pub fn bgp_open(data: &[u8]) {
    bgp_understood(&bgp_with_header(1, data), agreed(0));
}

/// A byte of abilities, then the body of an UPDATE.
pub fn bgp_update(data: &[u8]) {
    if let [abilities, body @ ..] = data {
        bgp_understood(&bgp_with_header(2, body), agreed(*abilities));
    }
}

fn bgp_with_header(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(MESSAGE_BYTES_MAX - HEADER_BYTES)];
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&((HEADER_BYTES + body.len()) as u16).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// A selector of a policy, pool or peer.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = model::Selector::parse(text) {
        let labels: BTreeMap<String, String> = [("a".to_owned(), "b".to_owned())].into();
        let _ = (selector.matches(&labels), selector.unique_id(), selector.uses_global());
    }
}

/// A key's path in the datastore, an end of line, its value.
pub fn resource(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let path = std::str::from_utf8(&data[..end]).ok();
    if let Some(key) = path.and_then(model::Key::parse) {
        let value = data[end + 1..].to_vec();
        if let Ok(value) = model::Value::decode(&model::Entry::new(key, value, model::Revision(7)))
        {
            value.encode();
        }
    }
}

/// A network configuration, as far as the plugin reads it before it does something.
pub fn cni_netconf(data: &[u8]) {
    let environment = [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into();
    let input = cni::Input { environment, stdin: data.to_vec() };
    assert!(cni::calico(&input, &cni::Places::default()).success);
}

/// A request on the agent's socket.
pub fn agent_request(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<node::api::Request>(data) {
        let text = serde_json::to_vec(&request).expect("a request is JSON");
        assert_eq!(serde_json::from_slice::<node::api::Request>(&text).ok(), Some(request));
    }
}

/// A datagram of tracked flows.
pub fn conntrack(data: &[u8]) {
    for flow in linux::conntrack::decode(data) {
        let _ = (flow.original.to_string(), flow.initiator(), flow.responder());
    }
}

/// A datagram of logged packets, whose payload others have made.
pub fn nflog(data: &[u8]) {
    for packet in linux::nflog::decode(data) {
        let _ = packet.tuple.map(|tuple| tuple.to_string());
        nflog_prefix(packet.prefix.as_bytes());
    }
}

/// The prefix of a logged packet: what is understood is written the same.
pub fn nflog_prefix(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(prefix) = policy::nflog_prefix::Names::default().read(text) {
        assert_eq!(prefix.text(), text);
        assert!(!prefix.to_string().is_empty());
    }
}
