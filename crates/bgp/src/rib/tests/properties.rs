//! However it came about, the table says what a table made afresh from the same facts says.

use super::*;
use crate::filter::Operation;
use model::CommunityValue;
use proptest::prelude::*;
use proptest::sample::Index;

const PEERS: usize = 7;
const PREFIXES: usize = 12;

/// A third of them IPv6.
fn prefix(number: usize) -> IpNet {
    match number % 3 {
        0 => net(&format!("fd00:{number}::/64")),
        1 => net(&format!("192.168.{number}.0/24")),
        _ => net(&format!("10.{number}.0.0/16")),
    }
}

fn prefixes(mask: u16) -> Vec<IpNet> {
    (0..PREFIXES).filter(|number| mask & (1 << number) != 0).map(prefix).collect()
}

fn first_peers() -> Vec<Peer> {
    let cluster_id = Some(Ipv4Addr::new(224, 0, 0, 1));
    vec![
        peer("10.0.0.1"),
        peer("fd00::2"),
        Peer { reflector_client: true, cluster_id, ..peer("10.0.0.3") },
        Peer { cluster_id, ..peer("10.0.0.4") },
        external("10.0.0.5", 65001),
        external("fd00::6", 65002),
        Peer { next_hop: NextHop::Keep, ..external("10.0.0.7", 65001) },
    ]
}

/// What a peer says of a route: some of it makes it win, lose, or stay out.
fn told(variant: u8) -> Attributes {
    let same = Attributes { as_path: path(&[65001]), ..attributes() };
    match variant % 10 {
        0 | 1 => same,
        2 => Attributes { local_pref: Some(200), ..same },
        3 => Attributes { as_path: path(&[65001, 65009]), ..same },
        4 => Attributes { med: Some(10), ..same },
        5 => Attributes { med: Some(10), as_path: path(&[65002]), ..same },
        6 => Attributes { communities: vec![0xffff_ff01], ..same },
        7 => Attributes { originator_id: Some(Ipv4Addr::new(9, 9, 9, 9)), ..same },
        8 => Attributes { cluster_list: vec![Ipv4Addr::new(224, 0, 0, 1)], ..same },
        _ => Attributes { as_path: path(&[LOCAL_AS]), ..same },
    }
}

fn filters(variant: u8) -> Vec<Filter> {
    let community = Operation::AddCommunity(CommunityValue::Standard(variant.into()));
    match variant % 4 {
        0 => vec![],
        1 => vec![policy::rule("192.168.0.0/16", true, vec![])],
        2 => vec![policy::rule("fd00::/16", false, vec![community])],
        _ => vec![policy::rule("0.0.0.0/0", false, vec![Operation::SetPriority(5)])],
    }
}

#[derive(Clone, Debug)]
enum Step {
    Learn { peer: usize, mask: u16, variant: u8, next_hop: u8 },
    Withdraw { peer: usize, mask: u16 },
    Up { peer: usize, router_id: u8 },
    Down { peer: usize, kept: Vec<Family> },
    Sweep { peer: usize, family: Family },
    Refresh { peer: usize, family: Family },
    Export { peer: usize, variant: u8 },
    Import { peer: usize, variant: u8 },
    NextHop { peer: usize, mode: NextHop },
    Reflect { peer: usize, client: bool },
    Originate { mask: u16 },
    Ranges { allowed: u8, denied: u8 },
    Communities { number: u32 },
    Read { peer: usize, bytes: usize },
    Kernel { changes: usize },
    Replace { peer: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0..PEERS;
    let mask = || 0..1_u16 << PREFIXES;
    let family = || prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    let kept = prop_oneof![
        Just(vec![]),
        family().prop_map(|family| vec![family]),
        Just(vec![Family::Ipv4, Family::Ipv6])
    ];
    let mode = prop_oneof![Just(NextHop::Auto), Just(NextHop::Own), Just(NextHop::Keep)];
    prop_oneof![
        12 => (peer(), mask(), any::<u8>(), 0..9_u8).prop_map(|(peer, mask, variant, next_hop)| {
            Step::Learn { peer, mask, variant, next_hop }
        }),
        4 => (peer(), mask()).prop_map(|(peer, mask)| Step::Withdraw { peer, mask }),
        4 => (peer(), 1..30_u8).prop_map(|(peer, router_id)| Step::Up { peer, router_id }),
        3 => (peer(), kept).prop_map(|(peer, kept)| Step::Down { peer, kept }),
        2 => (peer(), family()).prop_map(|(peer, family)| Step::Sweep { peer, family }),
        1 => (peer(), family()).prop_map(|(peer, family)| Step::Refresh { peer, family }),
        2 => (peer(), any::<u8>()).prop_map(|(peer, variant)| Step::Export { peer, variant }),
        1 => (peer(), any::<u8>()).prop_map(|(peer, variant)| Step::Import { peer, variant }),
        1 => (peer(), mode).prop_map(|(peer, mode)| Step::NextHop { peer, mode }),
        1 => (peer(), any::<bool>()).prop_map(|(peer, client)| Step::Reflect { peer, client }),
        2 => mask().prop_map(|mask| Step::Originate { mask }),
        2 => (0..8_u8, 0..8_u8).prop_map(|(allowed, denied)| Step::Ranges { allowed, denied }),
        1 => (0..3_u32).prop_map(|number| Step::Communities { number }),
        6 => (peer(), 1..200_usize).prop_map(|(peer, bytes)| Step::Read { peer, bytes }),
        3 => (0..8_usize).prop_map(|changes| Step::Kernel { changes }),
        1 => peer().prop_map(|peer| Step::Replace { peer }),
    ]
}

/// One peer as it has come to be.
#[derive(Clone)]
struct Known {
    peer: Peer,
    slot: PeerSlot,
    router_id: u8,
    up: bool,
    /// What it told last of each destination, and whether that is stale.
    routes: BTreeMap<IpNet, (Update, bool)>,
    receiver: Receiver,
}

impl Known {
    fn session(&self) -> Session {
        session(&self.peer, self.router_id)
    }
}

struct World {
    rib: Rib,
    configuration: Configuration,
    peers: Vec<Known>,
    kernel: BTreeMap<IpNet, LearnedRoute>,
}

fn ranges(mask: u8) -> BTreeSet<IpNet> {
    let all = ["192.168.0.0/16", "10.0.0.0/8", "fd00::/16"];
    (0..3).filter(|bit| mask & (1 << bit) != 0).map(|bit| net(all[bit])).collect()
}

impl World {
    fn new() -> World {
        let configuration = configuration();
        let mut rib = Rib::new(&configuration);
        let peers = (1..).zip(first_peers()).map(|(router_id, peer)| {
            let slot = rib.add_peer(&peer);
            let (routes, receiver) = (BTreeMap::new(), Receiver::default());
            Known { peer, slot, router_id, up: false, routes, receiver }
        });
        let peers = peers.collect();
        World { rib, configuration, peers, kernel: BTreeMap::new() }
    }

    fn step(&mut self, step: Step) {
        let World { rib, peers, .. } = self;
        match step {
            Step::Learn { peer, mask, variant, next_hop } => {
                let known = &mut peers[peer];
                for prefix in prefixes(mask).into_iter().filter(|_| known.up) {
                    let next_hop = match prefix {
                        IpNet::V4(_) => format!("10.0.0.{next_hop}"),
                        IpNet::V6(_) => format!("fd00::{next_hop}"),
                    };
                    let update = announce(&[prefix], &next_hop, told(variant));
                    rib.learn(known.slot, &update).expect("few");
                    known.routes.insert(prefix, (update, false));
                }
            }
            Step::Withdraw { peer, mask } if peers[peer].up => {
                let prefixes = prefixes(mask);
                rib.learn(peers[peer].slot, &withdraw(&prefixes)).expect("few");
                peers[peer].routes.retain(|prefix, _| !prefixes.contains(prefix));
            }
            Step::Up { peer, router_id } if !peers[peer].up => {
                let known = &mut peers[peer];
                (known.up, known.router_id) = (true, router_id);
                rib.up(known.slot, known.session());
            }
            Step::Down { peer, kept } if peers[peer].up => {
                let known = &mut peers[peer];
                known.up = false;
                known.receiver = Receiver::default();
                known.routes.retain(|prefix, (_, stale)| {
                    !std::mem::replace(stale, true) && kept.contains(&family(prefix))
                });
                rib.down(known.slot, &kept);
            }
            Step::Sweep { peer, family: of } => {
                peers[peer].routes.retain(|prefix, (_, stale)| !*stale || family(prefix) != of);
                rib.sweep(peers[peer].slot, of);
            }
            Step::Refresh { peer, family } => rib.refresh(peers[peer].slot, family),
            Step::Import { peer, variant } if peers[peer].up => {
                self.change_peer(peer, |peer| peer.import = filters(variant));
                // The peer tells all again, as it is asked to.
                let Known { slot, routes, .. } = &mut self.peers[peer];
                for (update, stale) in routes.values_mut() {
                    *stale = false;
                    self.rib.learn(*slot, update).expect("few");
                }
            }
            other => self.step_of_policy(other),
        }
    }

    fn step_of_policy(&mut self, step: Step) {
        match step {
            Step::Export { peer, variant } => {
                self.change_peer(peer, |peer| peer.export = filters(variant));
            }
            Step::NextHop { peer, mode } => self.change_peer(peer, |peer| peer.next_hop = mode),
            Step::Reflect { peer, client } => {
                self.change_peer(peer, |peer| peer.reflector_client = client);
            }
            Step::Originate { mask } => {
                self.configuration.originated = prefixes(mask).into_iter().collect();
            }
            Step::Ranges { allowed, denied } => {
                let (allowed, denied) = (ranges(allowed), ranges(denied));
                self.configuration.export = ExportRanges { allowed, denied };
            }
            Step::Communities { number } => {
                let set = Communities { standard: vec![number], large: vec![] };
                self.configuration.communities = vec![(net("192.168.0.0/16"), set)];
            }
            Step::Read { peer, bytes } => self.read(peer, bytes),
            Step::Kernel { changes } => self.take_routes(changes),
            Step::Replace { peer } => {
                let known = &mut self.peers[peer];
                self.rib.remove_peer(known.slot);
                known.slot = self.rib.add_peer(&known.peer);
                (known.up, known.receiver) = (false, Receiver::default());
                known.routes.clear();
            }
            _ => {}
        }
        self.rib.configure(&self.configuration);
    }

    fn change_peer(&mut self, peer: usize, change: impl FnOnce(&mut Peer)) {
        let known = &mut self.peers[peer];
        change(&mut known.peer);
        self.rib.configure_peer(known.slot, &known.peer);
    }

    fn read(&mut self, peer: usize, bytes: usize) {
        let known = &mut self.peers[peer];
        let bytes = self.rib.write(known.slot, bytes);
        known.receiver.read(&bytes, known.session().agreed);
    }

    fn take_routes(&mut self, changes_max: usize) {
        let changes = self.rib.take_routes(changes_max);
        assert!(changes.len() <= changes_max);
        for RouteChange { prefix, best } in changes {
            match best {
                Some(best) => self.kernel.insert(prefix, best),
                None => self.kernel.remove(&prefix),
            };
        }
    }

    fn settle(&mut self) {
        for peer in 0..self.peers.len() {
            while self.rib.has_output(self.peers[peer].slot) {
                self.read(peer, 100);
            }
        }
        while self.rib.routes_changed() {
            self.take_routes(3);
        }
    }

    /// A table that has been told only what holds now, peers in this order.
    fn afresh(&self, order: &[usize]) -> World {
        let mut rib = Rib::new(&self.configuration);
        let mut peers = self.peers.clone();
        for known in &mut peers {
            known.slot = rib.add_peer(&known.peer);
            known.receiver = Receiver::default();
        }
        for known in order.iter().map(|peer| &peers[*peer]) {
            let tell = |rib: &mut Rib, stale: bool| {
                for (update, _) in known.routes.values().filter(|route| route.1 == stale) {
                    rib.learn(known.slot, update).expect("few");
                }
            };
            rib.up(known.slot, known.session());
            tell(&mut rib, true);
            rib.down(known.slot, &[Family::Ipv4, Family::Ipv6]);
            if known.up {
                rib.up(known.slot, known.session());
                tell(&mut rib, false);
            }
        }
        let configuration = self.configuration.clone();
        World { rib, configuration, peers, kernel: BTreeMap::new() }
    }

    fn close(mut self) {
        for known in &self.peers {
            self.rib.remove_peer(known.slot);
        }
        self.configuration.originated.clear();
        self.rib.configure(&self.configuration);
        self.take_routes(usize::MAX);
        assert_eq!(self.kernel, BTreeMap::new());
        assert_eq!(self.rib.shared.attributes.count(), (0, 0));
        assert_eq!((self.rib.ipv4.counts(), self.rib.ipv6.counts()), ((0, 0), (0, 0)));
    }
}

fn family(prefix: &IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_as_good_as_its_outcome(
        steps in prop::collection::vec(step(), 1..80),
        order in prop::collection::vec(any::<Index>(), PEERS),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        prop_assert_eq!(&world.kernel, &world.rib.routes().collect());

        let mut all: Vec<usize> = (0..PEERS).collect();
        let order: Vec<usize> =
            order.iter().map(|index| all.remove(index.index(all.len()))).collect();
        let mut afresh = world.afresh(&order);
        afresh.settle();
        prop_assert_eq!(&world.kernel, &afresh.kernel);
        for (known, other) in world.peers.iter().zip(&afresh.peers) {
            prop_assert_eq!(&known.receiver.routes, &other.receiver.routes);
            prop_assert_eq!(&known.receiver.end_of_rib, &other.receiver.end_of_rib);
            prop_assert_eq!(world.rib.prefixes(known.slot), afresh.rib.prefixes(other.slot));
        }
        world.close();
    }
}
