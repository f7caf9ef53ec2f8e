//! Truth tables as text: policies, and packets with what must happen to them. The form:
//!
//! ```text
//! case NAME                       a new case; what follows is of it
//! through host                    of a host endpoint, not a workload; `forward` what it forwards
//! egress                          instead of ingress
//! set ID: NET NET                 a set of addresses and prefixes
//! ports ID: ADDRESS,PROTOCOL,PORT a set of ports
//! policy NAME                     its rules follow, indented; `staged NAME` for a staged one
//!   ACTION FIELD=VALUE …
//! profile NAME                    its rules follow, indented
//! tier NAME deny|pass: POLICY …   a tier of the endpoint; also `forward`, `untracked`, `pre-dnat`
//! profiles: NAME …
//! failsafe PROTOCOL:PORT[@NET]    a port that stays open, inbound and outbound
//! PROTOCOL SOURCE > DESTINATION = allow|deny: WHY
//! ```
//! Ports follow an address after a space: `tcp 10.0.0.1 999 > 10.0.0.2 80`; ICMP has type and code
//! before the addresses: `icmp 8 0 10.0.0.1 > 10.0.0.2`. WHY is `POLICY.RULE`, `tier NAME`,
//! `profile NAME.RULE`, `no profile`, `failsafe` or `undecided`.

use policy::evaluate::{
    Decision, Failsafe, FailsafePort, Node, Owner, Packet, Place, Reason, Rules, Verdict,
    through_node,
};
use policy::input::{Action, Icmp, PolicyId, PolicyKind};
use policy::output::{
    Entity, HostEndpoint, Member, Output, Policy, Profile, Rule, SetId, SetKind, Tier, Workload,
};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// A case: what was told, of whom, and what must happen.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) name: String,
    /// Sets, policies and profiles.
    pub(crate) outputs: Vec<Output>,
    /// The endpoint, if it is one of a workload.
    pub(crate) workload: Workload,
    /// The endpoint, if it is one of a host.
    pub(crate) host: HostEndpoint,
    /// Whose packets these are.
    pub(crate) through: Through,
    /// Ports that stay open.
    pub(crate) failsafe: Failsafe,
    /// They leave the endpoint.
    pub(crate) egress: bool,
    /// Packets and what happens to each.
    pub(crate) rows: Vec<Row>,
}

/// Whose packets are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Through {
    /// A workload's.
    #[default]
    Workload,
    /// A host's own.
    Host,
    /// Those that a host forwards.
    Forward,
}

/// A packet and what must happen.
#[derive(Debug)]
pub(crate) struct Row {
    /// The row as it is written.
    pub(crate) text: String,
    /// The packet.
    pub(crate) packet: Packet,
    /// `allow: web.0`.
    pub(crate) expected: String,
}

/// The cases of a text.
pub(crate) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("case ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case comes first");
        case.line(line).unwrap_or_else(|| panic!("line {}: {line}", number + 1));
    }
    cases
}

/// A policy's id by the name it has in a table.
pub(crate) fn policy_id(name: &str) -> PolicyId {
    let kind = if name.starts_with("staged") {
        PolicyKind::StagedNetworkPolicy
    } else {
        PolicyKind::NetworkPolicy
    };
    PolicyId { kind, namespace: "shop".into(), name: name.into() }
}

/// A decision as tables write it.
pub(crate) fn short(decision: &Decision) -> String {
    let verdict = if decision.verdict == Verdict::Allow { "allow" } else { "deny" };
    let by = match &decision.by {
        Reason::Rule(rule) => match &rule.owner {
            Owner::Policy { id, .. } => format!("{}.{}", id.name, rule.index),
            Owner::Profile(name) => format!("profile {name}.{}", rule.index),
        },
        Reason::EndOfTier(tier) => format!("tier {tier}"),
        Reason::NoProfile => "no profile".to_owned(),
        Reason::Failsafe => "failsafe".to_owned(),
        Reason::Undecided => "undecided".to_owned(),
        other => other.to_string(),
    };
    format!("{verdict}: {by}")
}

impl Case {
    /// Where its packets come from, and where they go.
    pub(crate) fn way(&self) -> (Place<'_>, Place<'_>) {
        let (near, far) = match self.through {
            Through::Workload => (Place::Workload(&self.workload), Place::Interface(None)),
            Through::Host => (Place::Host, Place::Interface(Some(&self.host))),
            Through::Forward => (Place::Interface(None), Place::Interface(Some(&self.host))),
        };
        if self.egress { (near, far) } else { (far, near) }
    }

    /// What decides about a packet of it.
    pub(crate) fn decide(&self, rules: &impl Rules, packet: &Packet) -> Decision {
        let node = Node {
            failsafe: &self.failsafe,
            all_interfaces: None,
            workload_to_host: false,
            vxlan_port: None,
            no_ipip: false,
        };
        let (from, to) = self.way();
        let mut decisions = through_node(rules, &node, from, to, packet);
        decisions.pop().expect("at least one endpoint is asked").1
    }

    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(rule) = line.strip_prefix("  ") {
            return self.rule(rule);
        }
        if let Some((packet, expected)) = line.split_once(" = ") {
            let (text, expected) = (line.to_owned(), expected.trim().to_owned());
            self.rows.push(Row { text, packet: read_packet(packet)?, expected });
            return Some(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (head, list) = rest.split_once(':').unwrap_or((rest, ""));
        let words = || list.split_whitespace();
        match word {
            "through" if rest == "host" => self.through = Through::Host,
            "through" if rest == "forward" => self.through = Through::Forward,
            "egress" => self.egress = true,
            "set" | "ports" => {
                let (id, list) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
                let kind = if word == "set" { SetKind::Nets } else { SetKind::Ports };
                let members = list.split_whitespace().map(|text| read_member(kind, text));
                let members = members.collect::<Option<_>>()?;
                self.outputs.push(Output::Set { id: SetId(id.into()), kind, members });
            }
            "policy" => {
                let staged = rest.starts_with("staged");
                let policy = Policy { tier: "default".into(), staged, ..Policy::default() };
                self.outputs.push(Output::Policy(policy_id(rest), policy.into()));
            }
            "profile" => {
                self.outputs.push(Output::Profile(rest.into(), Profile::default().into()));
            }
            "profiles:" => {
                self.workload.profiles = rest.split_whitespace().map(Into::into).collect();
                self.host.profiles = self.workload.profiles.clone();
            }
            "failsafe" => self.failsafe_port(rest)?,
            "tier" | "forward" | "untracked" | "pre-dnat" => {
                let tier = read_tier(head, words())?;
                match word {
                    "tier" => {
                        self.workload.tiers.push(tier.clone());
                        self.host.tiers.push(tier);
                    }
                    "forward" => self.host.forward.push(tier),
                    "untracked" => self.host.untracked.push(tier),
                    _ => self.host.pre_dnat.push(tier),
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A rule of the policy or profile told last; it is one of both directions.
    fn rule(&mut self, text: &str) -> Option<()> {
        let rule = read_rule(text)?;
        let (ingress, egress) = match self.outputs.last_mut()? {
            Output::Policy(_, policy) => {
                let policy = std::sync::Arc::make_mut(policy);
                (&mut policy.ingress, &mut policy.egress)
            }
            Output::Profile(_, profile) => {
                let profile = std::sync::Arc::make_mut(profile);
                (&mut profile.ingress, &mut profile.egress)
            }
            _ => return None,
        };
        ingress.push(rule.clone());
        egress.push(rule);
        Some(())
    }

    fn failsafe_port(&mut self, text: &str) -> Option<()> {
        let (port, net) = text.split_once('@').unwrap_or((text, ""));
        let (protocol, port) = port.split_once(':')?;
        let net = if net.is_empty() { None } else { Some(net.parse().ok()?) };
        let open =
            FailsafePort { protocol: read_protocol(protocol)?, port: port.parse().ok()?, net };
        self.failsafe.inbound.push(open);
        self.failsafe.outbound.push(open);
        Some(())
    }
}

fn read_tier<'a>(head: &str, policies: impl Iterator<Item = &'a str>) -> Option<Tier> {
    let (name, default_action) = head.split_once(' ')?;
    let default_action = match default_action {
        "deny" => model::DefaultAction::Deny,
        "pass" => model::DefaultAction::Pass,
        _ => return None,
    };
    let policies: Arc<[PolicyId]> = policies.map(policy_id).collect();
    Some(Tier { name: name.into(), default_action, ingress: policies.clone(), egress: policies })
}

fn read_rule(text: &str) -> Option<Rule> {
    let mut words = text.split_whitespace();
    let action = match words.next()? {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        "log" => Action::Log,
        "pass" => Action::Pass,
        _ => return None,
    };
    let mut rule = Rule {
        action,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Entity::default(),
        destination: Entity::default(),
        name: "".into(),
    };
    for word in words {
        let (field, value) = word.split_once('=')?;
        match field {
            "ip_version" => rule.ip_version = Some(value.parse().ok()?),
            "protocol" => rule.protocol = Some(read_protocol(value)?),
            "not_protocol" => rule.not_protocol = Some(read_protocol(value)?),
            "icmp" => rule.icmp = Some(read_icmp(value)?),
            "not_icmp" => rule.not_icmp = Some(read_icmp(value)?),
            "name" => rule.name = value.into(),
            _ => match field.split_once('.')? {
                ("source", field) => read_entity(&mut rule.source, field, value)?,
                ("destination", field) => read_entity(&mut rule.destination, field, value)?,
                _ => return None,
            },
        }
    }
    Some(rule)
}

fn read_entity(entity: &mut Entity, field: &str, value: &str) -> Option<()> {
    let sets = || value.split(',').map(|id| SetId(id.into())).collect();
    match field {
        "nets" => entity.nets = read_list(value)?,
        "not_nets" => entity.not_nets = read_list(value)?,
        "sets" => entity.sets = sets(),
        "not_sets" => entity.not_sets = sets(),
        "ports" => entity.ports = read_ranges(value)?,
        "not_ports" => entity.not_ports = read_ranges(value)?,
        "port_sets" => entity.port_sets = sets(),
        "not_port_sets" => entity.not_port_sets = sets(),
        "service" => entity.service = Some(SetId(value.into())),
        _ => return None,
    }
    Some(())
}

fn read_list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(|item| item.parse().ok()).collect()
}

fn read_ranges(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |text: &str| {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').map(range).collect()
}

fn read_icmp(text: &str) -> Option<Icmp> {
    let (kind, code) = text.split_once('/').map_or((text, None), |(kind, code)| (kind, Some(code)));
    let code = code.map(str::parse).transpose().ok()?;
    Some(Icmp { kind: kind.parse().ok()?, code })
}

fn read_protocol(text: &str) -> Option<u8> {
    let named = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];
    let known = named.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    known.or_else(|| text.parse().ok())
}

fn read_member(kind: SetKind, text: &str) -> Option<Member> {
    if kind == SetKind::Nets {
        let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(Into::into));
        return net.map(Member::Net);
    }
    let mut parts = text.split(',');
    Some(Member::Port {
        address: parts.next()?.parse().ok()?,
        protocol: read_protocol(parts.next()?)?,
        port: parts.next()?.parse().ok()?,
    })
}

fn read_packet(text: &str) -> Option<Packet> {
    let mut words = text.split_whitespace().filter(|word| *word != ">");
    let protocol = read_protocol(words.next()?)?;
    let words: Vec<&str> = words.collect();
    let (icmp, ports, [source, destination]) = match words[..] {
        [kind, code, source, destination] if matches!(protocol, 1 | 58) => {
            (Some((kind.parse().ok()?, code.parse().ok()?)), None, [source, destination])
        }
        [source, port, destination, to] => {
            (None, Some((port.parse().ok()?, to.parse().ok()?)), [source, destination])
        }
        [source, destination] => (None, None, [source, destination]),
        _ => return None,
    };
    let (source, destination) = (source.parse().ok()?, destination.parse().ok()?);
    Some(Packet { source, destination, protocol, ports, icmp })
}
