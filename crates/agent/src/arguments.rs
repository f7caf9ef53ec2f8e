//! The command line: Calico's names of what calico-node does, of before 3.33 (`-felix-live`) and since
//! (`health --felix-live`); both mean the same.

use crate::probe::{self, Probe};
use std::time::Duration;

pub(crate) const USAGE: &str = "\
calico-node: the node agent, or with flags a probe of it

  (no flag), -felix        run the agent
  -felix-live              is the agent alive?        -bird-live    is BGP alive?
  -felix-ready             does the kernel follow?    -bird-ready   are BGP sessions up?
  -bird6-live, -bird6-ready                           the same for IPv6
  -threshold-time 30s      so long after the start -bird-ready wants all sessions, later one
  -v                       the version

  -startup                 register the node, and no more
  -hostpath-init           make the host's directories, for user NODE_USER_ID
  -remove                  take from this node all that Calico has left there; with -stay, and wait
  -init, -shutdown         for manifests that call them: there is nothing to do

Newer manifests' `health --felix-live --felix-ready`, `startup`, `init` … are understood as well.

Settings are environment variables: ETCD_ENDPOINTS, NODENAME, IP_AUTODETECTION_METHOD,
CALICO_NETWORKING_BACKEND, CALICO_IPV4POOL_CIDR …; docs/configuration.md lists all.
Probes ask http://FELIX_HEALTHHOST:FELIX_HEALTHPORT, so the agent needs FELIX_HEALTHENABLED=true.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The agent.
    Run,
    /// What comes before its loop, alone.
    Startup,
    /// Probes, and their threshold.
    Probe(Vec<Probe>, Duration),
    /// The host's directories for a calico-node that is not root.
    HostPaths,
    /// A node without Calico; `stays` once that is done, as the containers of a DaemonSet do.
    Remove {
        stays: bool,
    },
    /// There is nothing to do, as the sentence says.
    Nothing(&'static str),
    Version,
    Help,
}

/// What manifests have done before the agent starts or when it ends.
const NOTHING: &[(&str, &str)] = &[
    ("init", "there is nothing to prepare: the dataplane needs no file system of BPF's"),
    ("shutdown", "there is nothing to end: routes and policy stay in force without the agent"),
];

/// What Calico has programs of their own for.
const PARTS: &[&str] = &[
    "allocate-tunnel-addrs",
    "bpf",
    "complete-startup",
    "confd",
    "monitor-addresses",
    "monitor-token",
    "node-services",
    "status-reporter",
];

/// What the arguments after the program's name ask for.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let (mut probes, mut wanted) = (Vec::new(), Wanted::Run);
    let (mut threshold, mut asks) = (probe::THRESHOLD_DEFAULT, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (argument.as_str(), None),
        };
        match flag.trim_start_matches('-') {
            "felix-live" => probes.push(Probe::FelixLive),
            "felix-ready" => probes.push(Probe::FelixReady),
            "bird-live" => probes.push(Probe::BirdLive(4)),
            "bird6-live" => probes.push(Probe::BirdLive(6)),
            "bird-ready" => probes.push(Probe::BirdReady(4)),
            "bird6-ready" => probes.push(Probe::BirdReady(6)),
            "threshold-time" => {
                let value = value.or_else(|| arguments.next().map(String::as_str));
                threshold = value.and_then(model::duration::parse).ok_or_else(|| {
                    format!("{argument} needs a duration: --threshold-time=30s, say")
                })?;
            }
            "v" | "version" => wanted = Wanted::Version,
            "h" | "help" => wanted = Wanted::Help,
            "health" => asks = true,
            "startup" => wanted = Wanted::Startup,
            "hostpath-init" => wanted = Wanted::HostPaths,
            "remove" => wanted = Wanted::Remove { stays: false },
            "stay" if matches!(wanted, Wanted::Remove { .. }) => {
                wanted = Wanted::Remove { stays: true };
            }
            "felix" | "run" | "best-effort" => {}
            name if PARTS.contains(&name) => {
                return Err(format!(
                    "{argument} is part of the agent, which runs where no argument is given"
                ));
            }
            name if let Some((_, why)) = NOTHING.iter().find(|(known, _)| *known == name) => {
                wanted = Wanted::Nothing(why);
            }
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    if asks && probes.is_empty() && wanted == Wanted::Run {
        return Err("health needs to be told of what: --felix-ready, say".to_owned());
    }
    Ok(if probes.is_empty() { wanted } else { Wanted::Probe(probes, threshold) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_probes_are_understood() {
        use Probe::{BirdLive, BirdReady, FelixLive, FelixReady};
        let probe = |probes: &[Probe]| Wanted::Probe(probes.to_vec(), probe::THRESHOLD_DEFAULT);
        let minute = Wanted::Probe(vec![BirdReady(6)], Duration::from_secs(60));
        for (line, wanted) in [
            ("", Wanted::Run),
            ("-felix", Wanted::Run),
            ("-felix-live -bird-live", probe(&[FelixLive, BirdLive(4)])),
            ("-bird-ready -felix-ready", probe(&[BirdReady(4), FelixReady])),
            ("-bird6-live", probe(&[BirdLive(6)])),
            ("health --felix-ready --threshold-time 30s", probe(&[FelixReady])),
            ("health --bird6-ready --threshold-time=1m", minute),
            ("-init -best-effort", Wanted::Nothing(NOTHING[0].1)),
            ("init --best-effort", Wanted::Nothing(NOTHING[0].1)),
            ("shutdown", Wanted::Nothing(NOTHING[1].1)),
            ("-hostpath-init", Wanted::HostPaths),
            ("startup", Wanted::Startup),
            ("-remove", Wanted::Remove { stays: false }),
            ("-remove -stay", Wanted::Remove { stays: true }),
            ("-v", Wanted::Version),
            ("--help", Wanted::Help),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(parse(&arguments), Ok(wanted), "{line}");
        }
        for (argument, said) in [
            ("-banana", "-banana"),
            ("-confd", "part of the agent"),
            ("-stay", "-stay"),
            ("health", "--felix-ready"),
            ("--threshold-time", "a duration"),
            ("--threshold-time=soon", "a duration"),
        ] {
            let message = parse(&[argument.to_owned()]).expect_err(argument);
            assert!(message.contains(said), "{message}");
        }
    }
}
