//! The plugin `calico`: ADD, DEL, CHECK and VERSION, as a function of its input.
//!
//! ```text
//!  ADD    ┬▶ agent: address ─────────┬▶ host's side ─▶ container's address and routes ─▶ result
//!         └▶ veth pair ──────────────┘
//!              └──────────── failed ───────────────┴─▶ all of it undone, the first error told
//!  DEL    container's interface ─▶ agent, or the spool where there is none
//!  CHECK  container's interface, address, routes ─▶ agent
//! ```

use crate::agent::{self, Agent};
use crate::answer::{Address, Answer, Interface};
use crate::call::{Call, Command, Input};
use crate::configuration::Configuration;
use crate::container::Arguments;
use crate::error::{Code, Error};
use crate::interface::Removal;
use crate::log::Log;
use crate::places::Places;
use crate::version::SpecVersion;
use crate::{delegate, interface, pod_ranges};
use ipnet::IpNet;
use kernel::Mac;
use linux::netns::NetNs;
use node::api::{AddWorkload, AddressSource, DeleteWorkload, Reply, Request, WorkloadId};

/// The IPAM that the agent does itself.
pub(crate) const CALICO_IPAM: &str = "calico-ipam";
/// A pod's MTU where nothing says one: VXLAN's 50 bytes fit beside it into Ethernet's 1500.
const MTU_DEFAULT: u32 = 1450;

/// What a plugin leaves: its standard output, and whether it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output: a result, an error, or nothing.
    pub stdout: String,
    /// Exit status 0.
    pub success: bool,
}

/// Does what the input asks for.
pub fn calico(input: &Input, places: &Places) -> Outcome {
    answered(input, places, "cni-plugin", |attachment| {
        for key in attachment.configuration.unknown_keys() {
            let text = format!("the network configuration's key {key:?} is not known, and ignored");
            attachment.log.debug(&text);
        }
        match attachment.call.command {
            Command::Add => attachment.add(),
            Command::Del => attachment.delete().map(|()| String::new()),
            _ => attachment.check().map(|()| String::new()),
        }
    })
}

/// Reads a plugin's input and does its work; VERSION is answered here, and a failure logged.
pub(crate) fn answered(
    input: &Input,
    places: &Places,
    plugin: &'static str,
    work: impl FnOnce(&Attachment<'_>) -> Result<String, Error>,
) -> Outcome {
    let version = Configuration::version_of(&input.stdin);
    let result = match Command::of(&input.environment) {
        Ok(Command::Version) => Ok(version.report()),
        Ok(command) => Attachment::read(command, input, places, plugin).and_then(|attachment| {
            work(&attachment).inspect_err(|error| {
                attachment.log.error(&format!("{} failed: {error}", command.as_str()));
            })
        }),
        Err(error) => Err(error),
    };
    match result {
        Ok(stdout) => Outcome { stdout, success: true },
        Err(error) => Outcome { stdout: error.to_json(version), success: false },
    }
}

/// One container's attachment to one network.
pub(crate) struct Attachment<'a> {
    pub(crate) call: Call,
    pub(crate) configuration: Configuration,
    pub(crate) places: &'a Places,
    pub(crate) log: Log,
}

/// What an ADD has made so far.
#[derive(Default)]
struct Made {
    delegated: bool,
    interface: bool,
    workload: bool,
}

impl<'a> Attachment<'a> {
    fn read(
        command: Command,
        input: &Input,
        places: &'a Places,
        plugin: &'static str,
    ) -> Result<Attachment<'a>, Error> {
        let call = Call::parse(command, &input.environment)?;
        let configuration = Configuration::parse(&input.stdin)?;
        let log = Log::new(&configuration.keys, &places.log, plugin, call.subject());
        Ok(Attachment { call, configuration, places, log })
    }

    fn add(&self) -> Result<String, Error> {
        let node = self.configuration.node_name(&self.places.state)?;
        let plugin = self.configuration.ipam_plugin()?;
        let mtu = self.mtu()?;
        let namespace = interface::namespace(&self.call.netns)?;
        self.finish_removal()?;
        let agent = Agent::connect(&self.places.socket)?;
        let mut made = Made::default();
        let added = self.attach(plugin, mtu, &namespace, agent, &mut made);
        let (mac, addresses) = added.inspect_err(|_| self.undo(&made))?;
        let list = addresses.iter().map(|net| net.addr().to_string()).collect::<Vec<_>>();
        self.log.info(&format!(
            "added {} with {} as {}, MTU {mtu}, on node {node}",
            self.call.interface,
            list.join(" and "),
            self.call.host_interface(),
        ));
        Ok(self.answer(mac, &addresses).to_json(self.configuration.version))
    }

    fn attach(
        &self,
        plugin: &str,
        mtu: u32,
        namespace: &NetNs,
        mut agent: Agent<'_>,
        made: &mut Made,
    ) -> Result<(Mac, Vec<IpNet>), Error> {
        let host = self.call.host_interface();
        let repeated = interface::remove_from_host(&host)?;
        if repeated {
            self.log.info(&format!("removed {host}, left by an earlier ADD of this pod"));
        }
        let source = match plugin {
            CALICO_IPAM => self.calico_addresses(),
            _ => {
                if repeated {
                    // The earlier ADD's address, which this container may still hold.
                    self.delegate(Command::Del)?;
                }
                let configuration = self.with_pod_ranges()?;
                let run = delegate::run(plugin, Command::Add, &self.call, &configuration);
                made.delegated = true;
                AddressSource::Given(run?.addresses.iter().map(|a| a.address).collect())
            }
        };
        let container = &self.call.interface;
        let settings = self.configuration.keys.container_settings.as_ref();
        let forwarding = settings.and_then(|s| s.allow_ip_forwarding).unwrap_or(false);
        let own = interface::random_mac();
        made.workload = true;
        let said = self.configuration.keys.args.as_ref();
        agent.tell(&Request::AddWorkload(Box::new(AddWorkload {
            id: self.workload(),
            host_interface: host.clone(),
            interface_follows: true,
            mac: own.to_string(),
            addresses: source,
            labels: said.map(Arguments::labels).unwrap_or_default(),
            service_account: said.and_then(Arguments::service_account),
            ports: said.map(Arguments::ports).unwrap_or_default(),
            features: self.configuration.keys.feature_control.unwrap_or_default(),
        })))?;
        interface::create(namespace, &host, container, own, mtu, forwarding)?;
        made.interface = true;
        if let Err(error) = agent.tell(&Request::InterfaceMade(self.workload())) {
            // It has refused the ADD: its answer says why.
            self.log.debug(&error.to_string());
        }
        let reply = agent.answer()?;
        let Reply::Added { addresses, mac: wished } = reply else { return Err(misunderstood()) };
        let wished = wished.map(|text| text.parse::<Mac>().map_err(|_| misunderstood()));
        let wished = wished.transpose()?;
        if let Some(mac) = wished {
            interface::set_mac(namespace, container, mac)?;
        }
        let destinations = self.configuration.destinations();
        interface::configure(namespace, container, &addresses, &destinations)?;
        Ok((wished.unwrap_or(own), addresses))
    }

    /// What host-local is told of its ranges, where they are those that Kubernetes gave the node.
    fn with_pod_ranges(&self) -> Result<Configuration, Error> {
        if !pod_ranges::is_wanted(&self.configuration) {
            return Ok(self.configuration.clone());
        }
        let agent = Agent::connect(&self.places.socket)?;
        match agent.ask(&Request::PodRanges)? {
            Reply::PodRanges(ranges) => pod_ranges::filled_in(&self.configuration, &ranges),
            _ => Err(misunderstood()),
        }
    }

    /// Takes back what a failed ADD has made.
    fn undo(&self, made: &Made) {
        let warn = |result: Result<(), Error>| {
            if let Err(error) = result {
                self.log.warning(&format!("undoing a failed ADD: {error}"));
            }
        };
        if made.workload {
            warn(self.tell_agent());
        }
        if made.delegated {
            warn(self.delegate(Command::Del));
        }
        if made.interface {
            warn(interface::remove_from_host(&self.call.host_interface()).map(|_| ()));
        }
    }

    fn delete(&self) -> Result<(), Error> {
        let container = &self.call.interface;
        let removal = Removal::begin(&self.call.netns, container);
        let told = self.tell_agent();
        let delegated = self.delegate(Command::Del);
        if let Err(error) = removal.and_then(|begun| begun.map_or(Ok(()), Removal::finish)) {
            // The kernel removes it with the namespace; the address must not wait for that.
            self.log.warning(&format!("{container} is left in {}: {error}", self.call.netns));
        }
        told.and(delegated)?;
        self.log.info(&format!("removed {container}"));
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.configuration.version < SpecVersion::V0_4_0 {
            let message = format!(
                "CHECK came with cniVersion 0.4.0; this network's is {}",
                self.configuration.version.as_str()
            );
            return Err(Error::new(Code::Version, message));
        }
        let previous = self.configuration.keys.previous_result.as_ref().ok_or_else(|| {
            let message = "CHECK needs prevResult, ADD's result, which the runtime has not given";
            Error::new(Code::Configuration, message)
        })?;
        let previous = Answer::parse(previous.to_string().as_bytes(), "prevResult")?;
        self.delegate(Command::Check)?;
        let namespace = interface::namespace(&self.call.netns)?;
        let inside = |address: &&Address| {
            let interface = address.interface.and_then(|index| previous.interfaces.get(index));
            interface.is_none_or(|interface| interface.name == self.call.interface)
        };
        let addresses: Vec<IpNet> =
            previous.addresses.iter().filter(inside).map(|address| address.address).collect();
        let destinations = self.configuration.destinations();
        interface::check(&namespace, &self.call.interface, &addresses, &destinations)?;
        let agent = Agent::connect(&self.places.socket)?;
        agent.ask(&Request::CheckWorkload(self.removal())).map(|_| ())
    }

    /// A repeated ADD after a DEL that no agent heard: that DEL first.
    fn finish_removal(&self) -> Result<(), Error> {
        let spooled = agent::spooled(&self.places.spool, &self.removal());
        if !spooled.exists() {
            return Ok(());
        }
        let agent = Agent::connect(&self.places.socket)?;
        agent.ask(&Request::DeleteWorkload(self.removal()))?;
        match std::fs::remove_file(&spooled) {
            // The agent was quicker.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new(
                Code::Io,
                format!("{}: {error}: remove this file, which undoes the pod", spooled.display()),
            )),
            _ => Ok(()),
        }
    }

    /// Tells the agent that the endpoint is gone, or leaves that for it.
    fn tell_agent(&self) -> Result<(), Error> {
        let request = Request::DeleteWorkload(self.removal());
        let told = Agent::connect(&self.places.socket).and_then(|agent| agent.ask(&request));
        let Err(error) = told else { return Ok(()) };
        let spooled = agent::spool(&self.places.spool, &self.removal())?;
        let place = spooled.display();
        self.log.warning(&format!("the agent will find the removal in {place}: {error}"));
        Ok(())
    }

    /// How the agent knows this endpoint. Mesos alone says a namespace in the configuration.
    fn workload(&self) -> WorkloadId {
        let mut id = self.call.workload(&self.configuration.name);
        let said = self.configuration.keys.args.as_ref().and_then(Arguments::namespace);
        if let (None, Some(namespace)) = (&self.call.pod, said) {
            id.namespace = namespace;
        }
        id
    }

    fn removal(&self) -> DeleteWorkload {
        let ipam = self.configuration.ipam_plugin();
        DeleteWorkload {
            id: self.workload(),
            host_interface: self.call.host_interface(),
            release_addresses: ipam.map_or(true, |plugin| plugin == CALICO_IPAM),
        }
    }

    /// Runs the other IPAM plugin, if it is one, for DEL or CHECK.
    fn delegate(&self, command: Command) -> Result<(), Error> {
        match self.configuration.ipam_plugin() {
            Ok(CALICO_IPAM) | Err(_) => Ok(()),
            Ok(plugin) if pod_ranges::is_wanted(&self.configuration) => {
                let configuration = pod_ranges::with_any(&self.configuration)?;
                delegate::run(plugin, command, &self.call, &configuration).map(|_| ())
            }
            Ok(plugin) => {
                delegate::run(plugin, command, &self.call, &self.configuration).map(|_| ())
            }
        }
    }

    fn calico_addresses(&self) -> AddressSource {
        let ipam = self.configuration.keys.ipam.clone().unwrap_or_default();
        AddressSource::CalicoIpam {
            ipv4: ipam.assign_ipv4.is_none_or(|switch| switch.0).into(),
            ipv6: ipam.assign_ipv6.is_some_and(|switch| switch.0).into(),
            ipv4_pools: ipam.ipv4_pools.unwrap_or_default(),
            ipv6_pools: ipam.ipv6_pools.unwrap_or_default(),
            requested: self.call.requested.into_iter().collect(),
        }
    }

    /// The configuration's MTU, else the node's, which the agent finds out.
    fn mtu(&self) -> Result<u32, Error> {
        let wrong = |problem: String| Err(Error::new(Code::Configuration, problem));
        match self.configuration.keys.mtu {
            Some(mtu @ 68..=65535) => return Ok(mtu),
            None | Some(0) => {}
            Some(mtu) => return wrong(format!("mtu is {mtu}: it takes 68 to 65535, or 0")),
        }
        let file = self.places.state.join("mtu");
        let required = self.configuration.keys.require_mtu_file == Some(true);
        match std::fs::read_to_string(&file) {
            Err(error) if required => Err(Error::new(
                Code::TryAgain,
                format!(
                    "{}: {error}: require_mtu_file is set, and calico-node writes that file: is \
                     it running on this node?",
                    file.display()
                ),
            )),
            Err(_) => Ok(MTU_DEFAULT),
            Ok(text) => match text.trim().parse() {
                Ok(mtu @ 68..=65535) => Ok(mtu),
                _ => wrong(format!(
                    "{} holds {:?}, which is no MTU; remove the file and restart calico-node",
                    file.display(),
                    text.trim()
                )),
            },
        }
    }

    fn answer(&self, mac: Mac, addresses: &[IpNet]) -> Answer {
        let host = Interface {
            name: self.call.host_interface(),
            mac: interface::HOST_MAC.to_string(),
            sandbox: String::new(),
        };
        let container = Interface {
            name: self.call.interface.clone(),
            mac: mac.to_string(),
            sandbox: self.call.netns.clone(),
        };
        let addresses = addresses
            .iter()
            .map(|net| Address { address: *net, gateway: None, interface: Some(1) })
            .collect();
        let dns = self.configuration.object.get("dns").filter(|dns| dns.is_object()).cloned();
        Answer { interfaces: vec![host, container], addresses, routes: vec![], dns }
    }
}

fn misunderstood() -> Error {
    let message = "the agent answered with something else; are the plugin and calico-node of the \
                   same version?";
    Error::new(Code::Decoding, message)
}
