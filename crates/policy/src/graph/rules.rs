//! Rules as policies say them, with selectors, to rules as they are told, with sets.

use crate::input;
use crate::output::{Entity, Rule, SetId};
use model::names::unique_id;
use model::{Selector, SelectorError};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// A set that a rule needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Addresses of the endpoints and network sets selected.
    Nets(Selector),
    /// Ports of a name of the endpoints selected.
    Ports {
        /// Which endpoints.
        selector: Selector,
        /// What the port is called.
        name: Box<str>,
        /// IP protocol number.
        protocol: u8,
    },
    /// Backends of a service, with ports or without.
    Service(input::ServiceId, bool),
}

impl Wanted {
    /// Calico's id of the set (`felix/calc/rule_scanner.go`).
    pub(super) fn id(&self) -> String {
        match self {
            Wanted::Nets(selector) => selector.unique_id(),
            Wanted::Ports { selector, name, protocol } => {
                let protocol = match *protocol {
                    UDP => "udp",
                    SCTP => "sctp",
                    _ => "tcp",
                };
                unique_id("n", &format!("{},{protocol},{name}", selector.unique_id()))
            }
            Wanted::Service(service, with_ports) => {
                let prefix = if *with_ports { "svc" } else { "svcnoport" };
                unique_id(prefix, &format!("{}/{}", service.namespace, service.name))
            }
        }
    }
}

/// What gives sets their names.
pub(super) trait Name {
    /// The set of the objects that a selector selects, by its text.
    ///
    /// # Errors
    /// The text is no selector.
    fn selected(&mut self, text: &str) -> Result<SetId, SelectorError>;

    /// Another set.
    fn set(&mut self, wanted: Wanted) -> SetId;
}

/// The rule that stands for those that can't be enforced.
pub(super) fn deny_all() -> Rule {
    Rule {
        action: input::Action::Deny,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Entity::default(),
        destination: Entity::default(),
        name: "".into(),
    }
}

/// # Errors
/// A selector isn't one.
pub(super) fn with_sets(rule: input::Rule, sets: &mut impl Name) -> Result<Rule, SelectorError> {
    // As in Calico, a named port is one of TCP unless the rule says UDP or SCTP.
    let protocol = rule.protocol.filter(|number| [UDP, SCTP].contains(number)).unwrap_or(TCP);
    Ok(Rule {
        action: rule.action,
        ip_version: rule.ip_version,
        protocol: rule.protocol,
        not_protocol: rule.not_protocol,
        icmp: rule.icmp,
        not_icmp: rule.not_icmp,
        source: entity(rule.source, protocol, false, sets)?,
        destination: entity(rule.destination, protocol, true, sets)?,
        name: rule.name,
    })
}

fn entity(
    entity: Option<Box<input::Entity>>,
    protocol: u8,
    is_destination: bool,
    sets: &mut impl Name,
) -> Result<Entity, SelectorError> {
    let Some(entity) = entity else { return Ok(Entity::default()) };
    let input::Entity { nets, not_nets, selector, not_selector, ports, not_ports, service } =
        *entity;
    let mut told = Entity { nets: nets.into(), not_nets: not_nets.into(), ..Entity::default() };
    let (selector, not_selector) = combine(selector, not_selector)?;
    let named = |port_name: Box<str>, sets: &mut _| -> Result<SetId, SelectorError> {
        let selector =
            if selector.is_empty() { Selector::ALL } else { Selector::parse(&selector)? };
        let wanted = Wanted::Ports { selector, name: port_name, protocol };
        Ok(Name::set(sets, wanted))
    };
    for port in ports {
        match port {
            input::Port::Range(first, last) => told.ports.push((first, last)),
            input::Port::Named(name) => told.port_sets.push(named(name, sets)?),
        }
    }
    for port in not_ports {
        match port {
            input::Port::Range(first, last) => told.not_ports.push((first, last)),
            input::Port::Named(name) => told.not_port_sets.push(named(name, sets)?),
        }
    }
    // A set of named ports holds the selected endpoints' only: that is the selector's test too.
    let covered = !told.port_sets.is_empty() && told.ports.is_empty();
    if !selector.is_empty() && !covered {
        told.sets.push(sets.selected(&selector)?);
    }
    if !not_selector.is_empty() {
        told.not_sets.push(sets.selected(&not_selector)?);
    }
    match service {
        Some(service) if is_destination => {
            told.service = Some(sets.set(Wanted::Service(service, true)));
        }
        Some(service) => told.sets.push(sets.set(Wanted::Service(service, false))),
        None => {}
    }
    Ok(told)
}

/// What is both selected and not selected makes one selector, as in Calico: one set, and a smaller
/// one.
fn combine(yes: Box<str>, no: Box<str>) -> Result<(Box<str>, Box<str>), SelectorError> {
    if yes.is_empty() || no.is_empty() {
        return Ok((yes, no));
    }
    // Each by itself, so that a parenthesis too many in one can't change the other's meaning.
    Selector::parse(&yes)?;
    Selector::parse(&no)?;
    let (yes, no) = (blank_is_all(&yes), blank_is_all(&no));
    Ok((format!("({yes}) && (!({no}))").into(), "".into()))
}

fn blank_is_all(text: &str) -> &str {
    if text.trim_matches([' ', '\t']).is_empty() { "all()" } else { text }
}
