//! Other BGP speakers beside ours: nodes of the mesh run by BIRD, routers outside run by FRR and
//! GoBGP. Whether routes travel is asked of both sides' kernels.

use crate::bird::{SESSIONS, block, established, mesh};
use crate::support::{self, Lab, WORKER_1, WORKER_2};
use std::path::PathBuf;
use std::process::Child;

/// The outside host's address in the default topology.
const OUTSIDE: &str = "198.51.100.10";

/// A speaker's configuration, beside this file.
fn configuration(name: &str, values: &[(&str, &str)]) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/peers").join(name);
    let text = std::fs::read_to_string(&file).expect("a file of the repository");
    values.iter().fold(text, |text, (key, value)| text.replace(key, value))
}

/// Writes a file at a place of the lab.
fn write(lab: &Lab, place: &str, path: &str, text: &str) {
    lab.run(place, &format!("cat >{path} <<'END'\n{text}\nEND"));
}

/// Applies a BGPPeer.
fn apply_peer(lab: &Lab, name: &str, spec: &str) {
    let peer = format!(
        "apiVersion: projectcalico.org/v3\\nkind: BGPPeer\\nmetadata: {{name: {name}}}\\n\
         spec: {{{spec}}}"
    );
    lab.run("master", &format!("printf '{peer}\\n' | calicoctl apply -f -"));
}

/// BIRD 1.6, which `scripts/setup test` unpacks, as Debian lets only one BIRD be installed.
fn bird_1() -> String {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/bird-1.6");
    let unpacked = unpacked.canonicalize().expect("run `scripts/setup test` first");
    unpacked.join("usr/sbin").display().to_string()
}

/// A program at a place of the lab, ended when dropped. A test that fails shows what it said.
struct Program<'a> {
    lab: &'a Lab,
    place: &'static str,
    name: &'static str,
    child: Child,
}

impl<'a> Program<'a> {
    fn start(lab: &'a Lab, place: &'static str, name: &'static str, line: &str) -> Program<'a> {
        let line = format!("exec {line} >>/tmp/{name}.log 2>&1");
        let child = lab.at(place, &line).spawn().expect("it starts");
        Program { lab, place, name, child }
    }

    /// Places have process ids of their own, so that no process of that name elsewhere is meant.
    fn kill(&mut self) {
        self.lab.try_run(self.place, &format!("pkill -KILL -x {}", self.name));
        self.child.wait().expect("it ends");
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.lab.try_run(self.place, &format!("cat /tmp/{}.log", self.name)).1);
        }
    }
}

/// Worker-2 run by a BIRD instead of our agent.
struct BirdNode {
    directory: String,
    /// Its block, and worker-1's.
    block: String,
    ours: String,
}

impl BirdNode {
    /// What an operator of BIRD asks it.
    fn birdc(&self, lab: &Lab, command: &str) -> String {
        let line = format!("{}/birdc -s /run/bird.ctl {command}", self.directory);
        lab.try_run("worker-2", &line).1
    }

    fn start<'a>(&self, lab: &'a Lab) -> Program<'a> {
        let line = format!("{}/bird -f -R -c /tmp/bird.conf -s /run/bird.ctl", self.directory);
        Program::start(lab, "worker-2", "bird", &line)
    }

    /// Waits until both sides of each of its sessions are up and its restart is over.
    fn has_sessions(&self, lab: &Lab) {
        lab.within(SESSIONS, "BIRD's sessions", |lab| {
            self.birdc(lab, "show protocols").matches("Established").count() == 3
                && !self.birdc(lab, "show status").contains("Graceful restart recovery in progress")
        });
        for node in ["master", "worker-1", "worker-3"] {
            lab.within(SESSIONS, &format!("{node}'s sessions"), |lab| established(lab, node) == 3);
        }
    }

    /// Every node has its block in its kernel, it has theirs in its own, and pods reach each other.
    fn routes_travel(&self, lab: &Lab) {
        let blocks = ["master", "worker-1", "worker-3"].map(|node| block(lab, node));
        lab.within(SESSIONS, "every block is in its kernel", |lab| {
            let routes = lab.routes("worker-2");
            let routed = |block: &String| {
                routes.lines().any(|l| l.starts_with(block.as_str()) && l.contains("proto bird"))
            };
            blocks.iter().all(routed)
        });
        for (node, gateway) in
            [("master", WORKER_2), ("worker-1", WORKER_2), ("worker-3", "10.30.1.1")]
        {
            let route = format!("{} via {gateway} dev ens5 proto bird", self.block);
            lab.within(SESSIONS, "its block is routed", |lab| lab.routes(node).contains(&route));
        }
        lab.within(SESSIONS, "pods reach each other", |lab| lab.pings("pod-1", "pod-2"));
        lab.within(SESSIONS, "and back", |lab| lab.pings("pod-2", "pod-1"));
    }

    /// Ours is killed: BIRD keeps its routes. BIRD is killed: ours keeps its routes.
    fn restarts<'a>(&self, lab: &'a Lab, mut bird: Program<'a>) -> Program<'a> {
        let changes = support::changes_during(lab, "worker-2", |lab| {
            let before = self.birdc(lab, "show protocols");
            lab.run("worker-1", "pkill -KILL -x calico-node");
            lab.within(SESSIONS, "BIRD has a new session", |lab| {
                let now = self.birdc(lab, "show protocols");
                now != before && now.matches("Established").count() == 3
            });
            lab.within(SESSIONS, "the agent is back", |lab| {
                lab.try_run("worker-1", "calicoctl node status").0
            });
            self.has_sessions(lab);
        });
        assert!(!changes.contains(&self.ours), "{changes}");
        let changes = support::changes_during(lab, "worker-1", |_| {
            bird.kill();
            lab.within(SESSIONS, "ours sees it gone", |lab| established(lab, "worker-1") == 2);
            bird = self.start(lab);
            self.has_sessions(lab);
        });
        assert!(!changes.contains(&self.block), "{changes}");
        assert!(lab.pings("pod-1", "pod-2"));
        bird
    }

    /// `reload in` asks ours for its routes again (RFC 2918): the import counter shows it.
    fn refreshes(&self, lab: &Lab) {
        let mesh = "Mesh_10_30_0_206";
        let imported = |lab: &Lab| {
            let text = self.birdc(lab, &format!("show protocols all {mesh}"));
            let line = text.lines().find(|line| line.contains("Import updates:"));
            let count = line.and_then(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
            count.unwrap_or_else(|| panic!("no counter: {text}"))
        };
        let before = imported(lab);
        self.birdc(lab, &format!("reload in {mesh}"));
        lab.within(SESSIONS, "our routes arrive again", |lab| imported(lab) > before);
        self.has_sessions(lab);
    }
}

fn a_node_run_by_bird(test: &str, directory: &str, file: &str) {
    let lab = mesh(test, &[]);
    lab.patch_pool("\"ipipMode\":\"Never\"");
    lab.within(SESSIONS, "Direct", |lab| lab.pings("pod-1", "pod-2"));
    let (ours, its) = (block(&lab, "worker-1"), block(&lab, "worker-2"));
    let node = BirdNode { directory: directory.to_owned(), block: its, ours };
    lab.agent("stop", "worker-2");
    // What BIRD's kernel has of ours would hide what BIRD does.
    lab.run("worker-2", "ip route flush proto bird");
    let values = [("@ADDRESS@", WORKER_2), ("@BLOCK@", node.block.as_str())];
    write(&lab, "worker-2", "/tmp/bird.conf", &configuration(file, &values));
    let bird = node.start(&lab);
    node.has_sessions(&lab);
    node.routes_travel(&lab);
    let _bird = node.restarts(&lab, bird);
    node.refreshes(&lab);
}

#[test]
fn a_node_run_by_bird_2() {
    a_node_run_by_bird("bird2", "/usr/sbin", "bird2.conf");
}

#[test]
fn a_node_run_by_bird_1_6() {
    a_node_run_by_bird("bird1", &bird_1(), "bird1.conf");
}

#[test]
fn a_node_run_by_calicos_own_configuration_of_bird() {
    a_node_run_by_bird("calicobird", &bird_1(), "calico.conf");
}

/// FRR on the router: zebra writes what bgpd learns into the router's kernel.
fn frr(lab: &Lab) -> [Program<'_>; 2] {
    lab.run("router", "mkdir -p /run/frr && chown frr:frr /run/frr");
    write(lab, "router", "/tmp/bgpd.conf", &configuration("frr.conf", &[]));
    write(lab, "router", "/tmp/zebra.conf", "! nothing");
    let start = |name: &'static str| {
        let line = format!(
            "/usr/lib/frr/{name} -f /tmp/{name}.conf -i /run/frr/{name}.pid -z /run/frr/zserv.api"
        );
        Program::start(lab, "router", name, &line)
    };
    let zebra = start("zebra");
    lab.within(SESSIONS, "zebra runs", |lab| lab.try_run("router", "test -S /run/frr/zserv.api").0);
    [zebra, start("bgpd")]
}

#[test]
fn frr_on_the_router_makes_direct_reach_the_other_subnet() {
    let lab = mesh("frr", &[]);
    lab.patch_pool("\"ipipMode\":\"Never\"");
    lab.within(SESSIONS, "Direct", |lab| lab.pings("pod-1", "pod-2"));
    assert!(!lab.pings("pod-1", "pod-3"), "the router has no route yet");
    let _frr = frr(&lab);
    // Each node tells the router of all blocks; their own next hops keep it from sending packets
    // for one node to another.
    apply_peer(&lab, "router", "peerIP: 10.30.0.1, asNumber: 64600, keepOriginalNextHop: true");
    for node in ["worker-1", "worker-3"] {
        lab.within(SESSIONS, &format!("{node}'s session"), |lab| established(lab, node) == 4);
    }
    let status = lab.run("worker-1", "calicoctl node status");
    let row = status.lines().find(|line| line.contains("| 10.30.0.1 "));
    assert!(row.is_some_and(|row| row.contains("| global ")), "{status}");
    let network = "172.30.0.0/24 via 10.30.0.1 dev ens5 proto bird";
    lab.within(SESSIONS, "FRR's network is routed", |lab| lab.routes("worker-1").contains(network));
    let (third, gateway) = (block(&lab, "worker-3"), "via 10.30.1.66 dev subnet-2 proto bgp");
    lab.within(SESSIONS, "the router has the block", |lab| {
        let routes = lab.routes("router");
        routes.lines().any(|line| line.starts_with(&third) && line.contains(gateway))
    });
    lab.within(SESSIONS, "pod-3 by the router", |lab| lab.pings("pod-1", "pod-3"));
    lab.run("master", "calicoctl delete bgppeer router");
    lab.within(SESSIONS, "all of it goes with the peer", |lab| {
        !lab.routes("worker-1").contains("172.30.0.0/24") && !lab.routes("router").contains(&third)
    });
    assert!(!lab.pings("pod-1", "pod-3"), "the router has no route again");
    assert_eq!(established(&lab, "worker-1"), 3, "the mesh stays");
}

/// GoBGP on the outside host, of AS 64700, expecting the nodes to be of an AS.
fn gobgp<'a>(lab: &'a Lab, nodes_as: &str) -> Program<'a> {
    let text = configuration("gobgp.toml", &[("@ADDRESS@", OUTSIDE), ("@NODES_AS@", nodes_as)]);
    write(lab, "outside", "/tmp/gobgp.toml", &text);
    let line = "gobgpd -f /tmp/gobgp.toml --api-hosts 127.0.0.1:50051";
    let program = Program::start(lab, "outside", "gobgpd", line);
    lab.within(SESSIONS, "GoBGP answers", |lab| lab.try_run("outside", "gobgp global").0);
    program
}

#[test]
fn gobgp_on_the_outside_host_learns_the_blocks_and_tells_a_network() {
    let lab = mesh("gobgp", &[]);
    lab.all_pods_reach_each_other();
    let _gobgp = gobgp(&lab, "64512");
    let spec = format!("node: worker-1, peerIP: {OUTSIDE}, asNumber: 64700");
    apply_peer(&lab, "outside", &spec);
    lab.within(SESSIONS, "the session", |lab| established(lab, "worker-1") == 4);
    let ours = block(&lab, "worker-1");
    lab.within(SESSIONS, "it has the block, of AS 64512, by worker-1", |lab| {
        let table = lab.run("outside", "gobgp global rib");
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|line| line.starts_with(&["*>", &ours, WORKER_1, "64512"]))
    });

    let route = "172.31.0.0/24 via 10.30.0.1 dev ens5 proto bird";
    for _ in 0..2 {
        lab.run("outside", "gobgp global rib add 172.31.0.0/24");
        lab.within(SESSIONS, "its network is routed", |lab| lab.routes("worker-1").contains(route));
        lab.run("outside", "gobgp global rib del 172.31.0.0/24");
        lab.within(SESSIONS, "it is withdrawn", |lab| !lab.routes("worker-1").contains(route));
    }
    lab.run("master", "calicoctl delete bgppeer outside");
    lab.within(SESSIONS, "the blocks go with the peer", |lab| {
        !lab.run("outside", "gobgp global rib").contains(&ours)
    });
}

#[test]
fn a_wrong_as_is_shown_whichever_side_has_it() {
    let lab = mesh("wrongas", &[]);
    let is_shown = |text: &str| {
        let status = lab.run("worker-1", "calicoctl node status");
        let row = status.lines().find(|line| line.contains(&format!("| {OUTSIDE} ")));
        row.is_some_and(|row| row.contains("| start ") && row.contains(text))
    };
    // After an error, GoBGP closes connections without a word for a while.
    let shown = |text: &str| {
        lab.within(SESSIONS, text, |_| is_shown(text));
        let closed = |lab: &Lab| {
            let log = lab.run("outside", "cat /tmp/gobgpd.log");
            log.matches("Closed an accepted connection").count()
        };
        let before = closed(&lab);
        lab.within(SESSIONS, "GoBGP closes connections", |lab| closed(lab) >= before + 2);
        lab.within(SESSIONS, text, |_| is_shown(text));
    };
    let peer = |number: &str| {
        let spec = format!("node: worker-1, peerIP: {OUTSIDE}, asNumber: {number}");
        apply_peer(&lab, "outside", &spec);
    };
    let mut wrong = gobgp(&lab, "64513");
    peer("64700");
    shown("the peer has ended it: OPEN Message Error: Bad Peer AS");
    wrong.kill();
    let _right = gobgp(&lab, "64512");
    peer("64701");
    shown("Bad Peer AS: the peer is of AS 64700, the configuration says 64701");
    peer("64700");
    lab.within(SESSIONS, "the session", |lab| established(lab, "worker-1") == 4);
}
