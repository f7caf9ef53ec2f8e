//! calico-node, containerd and kubelet are killed at random moments while pods come and go: nothing of
//! the pods is left behind.

use crate::cluster::LIMIT;
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_calico, await_controllers, installed};
use crate::workloads::{await_nothing_but, await_ready, idle, remains};
use std::time::Duration;

/// Pods in all, and how many are asked for at once.
const PODS: usize = 32;
const AT_ONCE: usize = 4;
/// Who is killed, one after the other.
const VICTIMS: [&str; 3] = ["calico-node", "containerd", "kubelet"];
/// The longest pause before somebody is killed.
const PAUSE_MAX_MS: u64 = 1500;

/// Numbers that look random (SplitMix64), from a seed.
struct Random(u64);

impl Random {
    /// CALICO_KILLS_SEED, or the time.
    fn new() -> Random {
        let given = std::env::var("CALICO_KILLS_SEED").ok();
        let now = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.expect("a time after 1970").subsec_nanos())
        };
        let seed = given.map_or_else(now, |text| text.parse().expect("CALICO_KILLS_SEED"));
        println!("CALICO_KILLS_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).expect("a small number")]
    }
}

#[test]
fn nothing_is_left_after_kills() {
    let cluster = installed("kills", MANIFEST);
    await_controllers(&cluster);
    // The image is there, and each node has its block.
    for node in ["n1", "n2"] {
        cluster.apply(&idle(&format!("stays-{node}"), "default", node, &[]).to_string());
    }
    for node in ["n1", "n2"] {
        await_ready(&cluster, &format!("stays-{node}"), "default");
    }
    let before = remains(&cluster);
    let mut random = Random::new();
    let mut alive: Vec<String> = Vec::new();
    for (first, victim) in (0..PODS).step_by(AT_ONCE).zip(VICTIMS.iter().cycle()) {
        for number in first..first + AT_ONCE {
            let (name, node) = (format!("pod-{number}"), random.one_of(&["n1", "n2"]));
            cluster.apply(&idle(&name, "default", node, &[]).to_string());
            alive.push(name);
        }
        for _ in 0..AT_ONCE / 2 {
            let index = random.below(alive.len() as u64);
            let name = alive.swap_remove(usize::try_from(index).expect("a small number"));
            cluster.kubectl(&format!("delete pod --wait=false {name}"));
        }
        std::thread::sleep(Duration::from_millis(random.below(PAUSE_MAX_MS)));
        let node = random.one_of(&["n1", "n2"]);
        let (killed, _) = cluster.try_run(node, &format!("pkill -KILL -x {victim}"));
        println!("{victim} on {node}: {}", if killed { "killed" } else { "does not run" });
    }
    for name in &alive {
        await_ready(&cluster, name, "default");
    }
    await_calico(&cluster);
    let pods = Pods::of(&cluster);
    for name in &alive {
        let stays = if pods.place(name).node == "n1" { "stays-n2" } else { "stays-n1" };
        pods.come_out(&cluster, &format!("{name} {stays} ping allowed"));
    }
    everybody_has_one_address(&pods, &alive);
    cluster.kubectl(&format!("delete pod --wait=false {}", alive.join(" ")));
    cluster.within(LIMIT * 2, "the pods are gone", |cluster| {
        !cluster.kubectl("get pods -o name").contains("pod/pod-")
    });
    await_nothing_but(&cluster, &before);
    pods.come_out(&cluster, "stays-n1 stays-n2 ping allowed");
}

pub(crate) fn everybody_has_one_address(pods: &Pods, names: &[String]) {
    let mut addresses: Vec<&str> = names.iter().map(|name| pods.address(name)).collect();
    addresses.sort_unstable();
    let all = addresses.len();
    addresses.dedup();
    assert_eq!(addresses.len(), all, "two pods have one address: {addresses:?}");
}
