//! Rules as the graph takes them.

use super::{joined, namespaces, of_namespace, service_accounts};
use crate::input::{self, Entity, Icmp, Port, Rule, ServiceId};
use ipnet::IpNet;
use model::resources::rule::{EntityRule, IcmpFields, ServiceAccountMatch};
use model::resources::workload_endpoint::SERVICE_ACCOUNT_LABEL;
use model::{IpProtocol, Selector};
use std::fmt::Display;

/// Converts the rules of one policy or profile.
pub(super) struct Rules<'a> {
    namespace: &'a str,
    /// What could not be read first.
    pub(super) broken: Option<Box<str>>,
}

/// Why a part of a rule cannot be read.
struct Unreadable(String);

fn unreadable(what: &str, why: impl Display) -> Unreadable {
    Unreadable(format!("{what}: {why}"))
}

impl<'a> Rules<'a> {
    /// Of a policy in this namespace; of none where it is empty.
    pub(super) fn of_namespace(namespace: &'a str) -> Rules<'a> {
        Rules { namespace, broken: None }
    }

    /// All rules that can be read; the others make the policy broken.
    pub(super) fn convert(&mut self, field: &str, rules: &[model::Rule]) -> Vec<Rule> {
        let mut converted = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            match self.rule(rule) {
                Ok(rule) => converted.push(rule),
                Err(Unreadable(why)) => {
                    let place = || format!("its {field} rule {index}, {why}").into();
                    self.broken.get_or_insert_with(place);
                }
            }
        }
        converted
    }

    fn rule(&self, rule: &model::Rule) -> Result<Rule, Unreadable> {
        if rule.http.is_some() {
            let why = "application-layer policy is not enforced here; remove it from the rule";
            return Err(unreadable("http", why));
        }
        Ok(Rule {
            action: action(rule.action),
            ip_version: rule.ip_version,
            protocol: rule.protocol.as_ref().map(number).transpose()?,
            not_protocol: rule.not_protocol.as_ref().map(number).transpose()?,
            icmp: rule.icmp.as_ref().and_then(icmp),
            not_icmp: rule.not_icmp.as_ref().and_then(icmp),
            source: self.entity("source", &rule.source)?,
            destination: self.entity("destination", &rule.destination)?,
            name: rule.name().unwrap_or_default().into(),
        })
    }

    fn entity(&self, end: &str, rule: &EntityRule) -> Result<Option<Box<Entity>>, Unreadable> {
        if *rule == EntityRule::default() {
            return Ok(None);
        }
        Ok(Some(Box::new(Entity {
            nets: nets(end, "nets", &rule.nets)?,
            not_nets: nets(end, "notNets", &rule.not_nets)?,
            selector: self.selector(end, rule)?,
            not_selector: match rule.not_selector.trim() {
                "" => "".into(),
                text => parsed(end, "notSelector", text)?.into(),
            },
            ports: rule.ports.iter().map(port).collect(),
            not_ports: rule.not_ports.iter().map(port).collect(),
            service: rule.services.as_ref().map(|service| ServiceId {
                namespace: match service.namespace.as_str() {
                    "" => self.namespace.into(),
                    namespace => namespace.into(),
                },
                name: service.name.as_str().into(),
            }),
        })))
    }

    /// The endpoints that the rule means. A rule of a namespaced policy that selects by labels or
    /// accounts, but not by namespaces, means those of its own namespace.
    fn selector(&self, end: &str, rule: &EntityRule) -> Result<Box<str>, Unreadable> {
        let own = !rule.selector.trim().is_empty()
            || !rule.not_selector.trim().is_empty()
            || rule.service_accounts.is_some();
        let mut all = Vec::new();
        if !rule.namespace_selector.trim().is_empty() {
            let selector = namespaces(&rule.namespace_selector);
            let field = format!("{end}.namespaceSelector");
            all.push(selector.map_err(|why| unreadable(&field, why))?);
        } else if own && !self.namespace.is_empty() {
            all.push(of_namespace(self.namespace));
        }
        if !rule.selector.trim().is_empty() {
            all.push(parsed(end, "selector", &rule.selector)?);
        }
        if let Some(accounts) = &rule.service_accounts {
            all.extend(self.accounts(end, accounts)?);
        }
        Ok(if all.is_empty() { "".into() } else { joined(all) })
    }

    fn accounts(
        &self,
        end: &str,
        accounts: &ServiceAccountMatch,
    ) -> Result<Vec<String>, Unreadable> {
        let mut all = Vec::new();
        if !accounts.names.is_empty() {
            let text = format!("{SERVICE_ACCOUNT_LABEL} in {{'{}'}}", accounts.names.join("', '"));
            all.push(parsed(end, "serviceAccounts.names", &text)?);
        }
        if !accounts.selector.trim().is_empty() {
            let field = format!("{end}.serviceAccounts.selector");
            let selector = service_accounts(&accounts.selector);
            all.push(selector.map_err(|why| unreadable(&field, why))?);
        }
        if all.is_empty() {
            // Any account, but one.
            all.push(format!("has({SERVICE_ACCOUNT_LABEL})"));
        }
        Ok(all)
    }
}

/// A selector's canonical text. Only a text that was read alone can be joined to others.
fn parsed(end: &str, field: &str, text: &str) -> Result<String, Unreadable> {
    let selector = Selector::parse(text);
    selector
        .map(|selector| selector.canonical())
        .map_err(|why| unreadable(&format!("{end}.{field}"), why))
}

fn action(action: model::Action) -> input::Action {
    match action {
        model::Action::Allow => input::Action::Allow,
        model::Action::Deny => input::Action::Deny,
        model::Action::Log => input::Action::Log,
        model::Action::Pass => input::Action::Pass,
    }
}

fn number(protocol: &IpProtocol) -> Result<u8, Unreadable> {
    let unknown = || unreadable("protocol", format!("{protocol} is not known; write its number"));
    protocol.number().ok_or_else(unknown)
}

/// Without a type there is nothing to match.
fn icmp(fields: &IcmpFields) -> Option<Icmp> {
    Some(Icmp { kind: fields.kind?, code: fields.code })
}

fn nets(end: &str, field: &str, texts: &[String]) -> Result<Box<[IpNet]>, Unreadable> {
    let read = |text: &String| {
        let wrong = || unreadable(&format!("{end}.{field}"), format!("{text} is no prefix"));
        net(text).ok_or_else(wrong)
    };
    texts.iter().map(read).collect()
}

/// An address or a prefix, without host bits.
pub(super) fn net(text: &str) -> Option<IpNet> {
    let address = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse::<IpNet>().ok().or_else(address).map(|net| net.trunc())
}

fn port(port: &model::Port) -> Port {
    match port {
        model::Port::Range(first, last) => Port::Range(*first, *last),
        model::Port::Named(name) => Port::Named(name.as_str().into()),
    }
}
