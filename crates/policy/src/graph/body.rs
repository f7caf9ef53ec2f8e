//! The rules of a policy or profile as bytes. Most policies have no endpoint of this node: their
//! rules only wait, in about a tenth of the space.

use super::bytes::{Reader, Writer};
use crate::input::{Action, Entity, Icmp, Port, Rule, ServiceId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How many texts back a repeated one is found: rules of a policy often repeat a selector.
const RECENT_MAX: usize = 16;

const ACTIONS: [Action; 4] = [Action::Allow, Action::Deny, Action::Log, Action::Pass];

/// Rules, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body {
    pub(super) ingress: Vec<Rule>,
    pub(super) egress: Vec<Rule>,
    pub(super) broken: Option<Box<str>>,
}

pub(super) fn encode(ingress: &[Rule], egress: &[Rule], broken: Option<&str>) -> Box<[u8]> {
    let mut encoder = Encoder { writer: Writer::with_capacity(512), recent: vec![] };
    encoder.optional(broken, |encoder, reason| encoder.text(reason));
    for rules in [ingress, egress] {
        encoder.writer.number(rules.len() as u64);
        for rule in rules {
            encoder.rule(rule);
        }
    }
    encoder.writer.finish()
}

pub(super) fn decode(bytes: &[u8]) -> Body {
    let mut decoder = Decoder { reader: Reader::new(bytes), recent: vec![] };
    let broken = decoder.optional(Decoder::text);
    let ingress = decoder.list(Decoder::rule);
    let egress = decoder.list(Decoder::rule);
    Body { ingress, egress, broken }
}

/// Why the policy can't be enforced, without decoding its rules.
pub(super) fn broken(bytes: &[u8]) -> Option<Box<str>> {
    Decoder { reader: Reader::new(bytes), recent: vec![] }.optional(Decoder::text)
}

struct Encoder<'a> {
    writer: Writer,
    recent: Vec<&'a str>,
}

impl<'a> Encoder<'a> {
    fn optional<T>(&mut self, value: Option<T>, write: impl Fn(&mut Encoder<'a>, T)) {
        self.writer.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, values: &'a [T], write: impl Fn(&mut Encoder<'a>, &'a T)) {
        self.writer.number(values.len() as u64);
        values.iter().for_each(|value| write(self, value));
    }

    fn text(&mut self, text: &'a str) {
        match self.recent.iter().position(|recent| *recent == text) {
            Some(position) => self.writer.number(position as u64 + 1),
            None => {
                self.writer.number(0);
                self.writer.bytes(text.as_bytes());
                if self.recent.len() < RECENT_MAX {
                    self.recent.push(text);
                }
            }
        }
    }

    fn rule(&mut self, rule: &'a Rule) {
        let byte = |encoder: &mut Encoder, value| encoder.writer.byte(value);
        self.writer.byte(rule.action as u8);
        for value in [rule.ip_version, rule.protocol, rule.not_protocol] {
            self.optional(value, byte);
        }
        for icmp in [rule.icmp, rule.not_icmp] {
            self.optional(icmp, |encoder, icmp| {
                encoder.writer.byte(icmp.kind);
                encoder.optional(icmp.code, byte);
            });
        }
        for entity in [&rule.source, &rule.destination] {
            self.optional(entity.as_deref(), Encoder::entity);
        }
        self.text(&rule.name);
    }

    fn entity(&mut self, entity: &'a Entity) {
        for nets in [&entity.nets, &entity.not_nets] {
            self.list(nets, Encoder::net);
        }
        for selector in [&entity.selector, &entity.not_selector] {
            self.text(selector);
        }
        for ports in [&entity.ports, &entity.not_ports] {
            self.list(ports, Encoder::port);
        }
        self.optional(entity.service.as_ref(), |encoder, service| {
            encoder.text(&service.namespace);
            encoder.text(&service.name);
        });
    }

    fn net(&mut self, net: &'a IpNet) {
        match net {
            IpNet::V4(net) => {
                self.writer.byte(net.prefix_len());
                self.writer.raw(&net.addr().octets());
            }
            // Lengths of IPv6 begin where those of IPv4 end.
            IpNet::V6(net) => {
                self.writer.byte(net.prefix_len() + 33);
                self.writer.raw(&net.addr().octets());
            }
        }
    }

    fn port(&mut self, port: &'a Port) {
        match port {
            Port::Range(first, last) => {
                self.writer.byte(0);
                self.writer.number((*first).into());
                self.writer.number((*last).into());
            }
            Port::Named(name) => {
                self.writer.byte(1);
                self.text(name);
            }
        }
    }
}

struct Decoder<'a> {
    reader: Reader<'a>,
    recent: Vec<&'a str>,
}

impl<'a> Decoder<'a> {
    fn optional<T>(&mut self, read: impl Fn(&mut Decoder<'a>) -> T) -> Option<T> {
        (self.reader.byte() != 0).then(|| read(self))
    }

    fn list<T, L: FromIterator<T>>(&mut self, read: impl Fn(&mut Decoder<'a>) -> T) -> L {
        let length = self.reader.number();
        (0..length).map(|_| read(self)).collect()
    }

    fn byte(&mut self) -> u8 {
        self.reader.byte()
    }

    fn text(&mut self) -> Box<str> {
        let position = self.reader.number() as usize;
        if position > 0 {
            return self.recent[position - 1].into();
        }
        let text = std::str::from_utf8(self.reader.bytes()).expect("read as it was written");
        if self.recent.len() < RECENT_MAX {
            self.recent.push(text);
        }
        text.into()
    }

    fn rule(&mut self) -> Rule {
        Rule {
            action: ACTIONS[usize::from(self.byte())],
            ip_version: self.optional(Decoder::byte),
            protocol: self.optional(Decoder::byte),
            not_protocol: self.optional(Decoder::byte),
            icmp: self.optional(Decoder::icmp),
            not_icmp: self.optional(Decoder::icmp),
            source: self.optional(Decoder::entity),
            destination: self.optional(Decoder::entity),
            name: self.text(),
        }
    }

    fn icmp(&mut self) -> Icmp {
        Icmp { kind: self.byte(), code: self.optional(Decoder::byte) }
    }

    fn entity(&mut self) -> Box<Entity> {
        Box::new(Entity {
            nets: self.list(Decoder::net),
            not_nets: self.list(Decoder::net),
            selector: self.text(),
            not_selector: self.text(),
            ports: self.list(Decoder::port),
            not_ports: self.list(Decoder::port),
            service: self
                .optional(|decoder| ServiceId { namespace: decoder.text(), name: decoder.text() }),
        })
    }

    fn net(&mut self) -> IpNet {
        let length = self.byte();
        let net = if length <= 32 {
            Ipv4Net::new(Ipv4Addr::from(self.reader.raw::<4>()), length).map(IpNet::V4)
        } else {
            Ipv6Net::new(Ipv6Addr::from(self.reader.raw::<16>()), length - 33).map(IpNet::V6)
        };
        net.expect("read as it was written")
    }

    fn port(&mut self) -> Port {
        match self.byte() {
            0 => Port::Range(self.reader.number() as u16, self.reader.number() as u16),
            _ => Port::Named(self.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, decode, encode};
    use crate::strategy;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            ingress in prop::collection::vec(strategy::rule(), 0..25),
            egress in prop::collection::vec(strategy::rule(), 0..4),
            broken in proptest::option::of("[a-z]{0,4}"),
        ) {
            let broken = broken.map(String::into_boxed_str);
            let bytes = encode(&ingress, &egress, broken.as_deref());
            prop_assert_eq!(super::broken(&bytes), broken.clone());
            prop_assert_eq!(decode(&bytes), Body { ingress, egress, broken });
        }
    }
}
