//! Logged packets as lines, so many a second of each rule.

use super::LoggedPacket;
use policy::evaluate::Direction;
use policy::input::PolicyId;
use policy::nflog_prefix::{Names, Prefix};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines of one prefix within [`PERIOD`]; further packets are only counted.
const LINES_MAX: u64 = 5;
/// Prefixes told apart within [`PERIOD`]; packets of further ones are only counted.
const PREFIXES_MAX: usize = 256;
/// How long packets are counted together.
const PERIOD: Duration = Duration::from_secs(1);

/// What was logged within the current period.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// When it began, since the thread's start; `None`: nothing was logged since the last one.
    began: Option<Duration>,
    /// How many packets of each prefix, told or not.
    packets: BTreeMap<String, u64>,
    /// Packets of prefixes beyond [`PREFIXES_MAX`].
    others: u64,
}

impl Lines {
    /// Counts a packet. Returns the line that tells of it, unless its rule has logged enough.
    pub(super) fn take(
        &mut self,
        now: Duration,
        packet: &LoggedPacket,
        names: &Names,
        interface: &dyn Fn(u32) -> String,
    ) -> Option<String> {
        self.began.get_or_insert(now);
        if !self.packets.contains_key(&packet.prefix) && self.packets.len() >= PREFIXES_MAX {
            self.others += 1;
            return None;
        }
        let count = self.packets.entry(packet.prefix.clone()).or_default();
        *count += 1;
        (*count <= LINES_MAX).then(|| line(packet, names, interface))
    }

    /// Where the period is over: a line for each rule that has logged more than was told.
    pub(super) fn summaries(&mut self, now: Duration, names: &Names) -> Vec<String> {
        if self.began.is_none_or(|began| now < began + PERIOD) {
            return Vec::new();
        }
        self.began = None;
        let packets = std::mem::take(&mut self.packets);
        let more = packets.iter().filter(|(_, count)| **count > LINES_MAX);
        let mut lines: Vec<String> = more
            .map(|(prefix, count)| {
                let count = count - LINES_MAX;
                format!("{}: … and {count} more packets", reason(prefix, names))
            })
            .collect();
        match std::mem::take(&mut self.others) {
            0 => {}
            count => {
                lines.push(format!("{count} more packets of other rules were denied or logged"))
            }
        }
        lines
    }
}

fn reason(prefix: &str, names: &Names) -> String {
    let reason =
        names.read(prefix).map_or_else(|unknown| unknown.to_string(), |known| known.to_string());
    match names.label(prefix) {
        Some(label) if !label.is_empty() => format!("{label}: {reason}"),
        _ => reason,
    }
}

/// `denied by NetworkPolicy(shop/web) rule 0: 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (ingress of …)`.
fn line(packet: &LoggedPacket, names: &Names, interface: &dyn Fn(u32) -> String) -> String {
    let tuple = packet.tuple.map_or_else(|| "a packet that is not IP".into(), |of| of.to_string());
    let direction = match names.read(&packet.prefix) {
        Ok(Prefix { direction: Direction::Ingress, .. }) => "ingress, ",
        Ok(Prefix { direction: Direction::Egress, .. }) => "egress, ",
        Err(_) => "",
    };
    let (input, output) = (packet.input.map(interface), packet.output.map(interface));
    let mut reason = reason(&packet.prefix, names);
    if let Ok(prefix) = names.read(&packet.prefix) {
        let last = names.ends.of(&prefix, input.as_deref(), output.as_deref());
        let last: Vec<String> = last.into_iter().map(PolicyId::resource).collect();
        if !last.is_empty() {
            reason += &format!(" (the last is {})", last.join(" or "));
        }
    }
    let way = match (input, output) {
        (Some(input), Some(output)) => format!("{input} -> {output}"),
        (Some(input), None) => format!("from {input}"),
        (None, Some(output)) => format!("to {output}"),
        (None, None) => "no interface".to_owned(),
    };
    format!("{reason}: {tuple} ({direction}{way})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use linux::{Transport, Tuple};
    use model::DefaultAction;
    use policy::input::{Action, PolicyKind};
    use policy::nflog_prefix::{Asked, Origin};
    use policy::output::Tier;

    fn packet(prefix: &str, input: Option<u32>, output: Option<u32>) -> LoggedPacket {
        let tuple = Tuple {
            source: [10, 65, 0, 2].into(),
            destination: [10, 65, 1, 3].into(),
            protocol: 6,
            transport: Transport::Ports { source: 40312, destination: 80 },
        };
        let (prefix, tuple) = (prefix.to_owned(), Some(tuple));
        LoggedPacket { group: 1, prefix, hook: 2, input, output, mark: 0, tuple }
    }

    fn interface(index: u32) -> String {
        ["eth0", "cali1"].get(index as usize).map_or_else(String::new, ToString::to_string)
    }

    #[test]
    fn lines_tell_rule_packet_and_way() {
        let policy = PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: "shop".into(),
            name: "a-name-that-is-so-long-that-it-must-be-shortened-in-the-kernel".into(),
        };
        let (action, direction) = (Action::Log, Direction::Egress);
        let long = Prefix { action, direction, origin: Origin::PolicyRule { policy, index: 3 } };
        let mut names = Names::default();
        names.set_label(&long, "calico-packet");
        let long = names.insert(&long);
        let last = PolicyId {
            kind: PolicyKind::GlobalNetworkPolicy,
            namespace: "".into(),
            name: "default-deny".into(),
        };
        let tier = Tier {
            name: "default".into(),
            default_action: DefaultAction::Deny,
            ingress: [].into(),
            egress: [last].into(),
        };
        names.ends.add(Asked::Workload, "cali1", &[tier], |_| false);
        let mut no_packet = packet("DRI", Some(0), None);
        no_packet.tuple = None;
        let lines: Vec<_> = [
            packet("DPI0|np/shop/web", Some(0), Some(1)),
            packet(&long, Some(1), None),
            packet("DPE|default", None, Some(0)),
            packet("DPE|default", Some(1), Some(0)),
            packet("somebody else's", None, None),
            no_packet,
        ]
        .iter()
        .map(|packet| line(packet, &names, &interface))
        .collect();
        expect![[r#"
            denied by NetworkPolicy(shop/web) rule 0: 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (ingress, eth0 -> cali1)
            calico-packet: logged by NetworkPolicy(shop/a-name-that-is-so-long-that-it-must-be-shortened-in-the-kernel) rule 3: 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (egress, from cali1)
            denied at the end of Tier(default), as no rule of its policies matches: 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (egress, to eth0)
            denied at the end of Tier(default), as no rule of its policies matches (the last is GlobalNetworkPolicy(default-deny)): 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (egress, cali1 -> eth0)
            the packet was logged with the prefix `somebody else's`, which is of no rule in force here; either the rule is gone by now, or another program logs to the same NFLOG group: 10.65.0.2:40312 -> 10.65.1.3 tcp/80 (no interface)
            denied, as no Profile allows it: a packet that is not IP (ingress, from eth0)"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn each_rule_has_its_lines_a_second() {
        let (mut lines, names) = (Lines::default(), Names::default());
        let at = |milliseconds: u64| Duration::from_millis(5000 + milliseconds);
        let told = |lines: &mut Lines, now, prefix: &str, count: usize| {
            let taken = |_: &usize| {
                lines.take(at(now), &packet(prefix, None, None), &names, &interface).is_some()
            };
            (0..count).filter(taken).count()
        };
        assert_eq!(lines.summaries(at(0), &names), [""; 0]);
        assert_eq!(told(&mut lines, 0, "DRI", 12), 5);
        assert_eq!(told(&mut lines, 500, "DRE", 3), 3);
        assert_eq!(lines.summaries(at(999), &names), [""; 0]);
        let said = "denied, as no Profile allows it: … and 7 more packets";
        assert_eq!(lines.summaries(at(1000), &names), [said]);
        assert_eq!(lines.summaries(at(2000), &names), [""; 0]);
        assert_eq!(told(&mut lines, 2000, "DRI", 6), 5);
        for number in 0..PREFIXES_MAX + 9 {
            told(&mut lines, 2100, &format!("DPI|tier-{number}"), 1);
        }
        let said = [
            "denied, as no Profile allows it: … and 1 more packets".to_owned(),
            "10 more packets of other rules were denied or logged".to_owned(),
        ];
        assert_eq!(lines.summaries(at(3000), &names), said);
    }
}
